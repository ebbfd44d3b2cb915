"""Elections on etcd: claims, tokens and sessions."""

from __future__ import annotations

import pytest

from leadership_core.backend.protocols import Absent, Leading, Waiting
from leadership_core.errors import ConfigurationError, SessionLost
from leadership_etcd.claim import EtcdClaim
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.integration.etcd.conftest import Opener
from tests.integration.etcd.tools import client_of
from tests.support.servers.etcd import Etcd


def test_claim_is_key_named_after_its_lease(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """Like Go's concurrency.Election: lower-case hex below the key, bound to the lease."""
    claim = store.election(unique_key).enter(session, "Frånk".encode())

    assert shared_etcd.keys(f"{unique_key}/") == {f"{unique_key}/{session.lease:x}": session.lease}
    entry = store.get(f"{unique_key}/{session.id}")
    assert entry is not None
    assert (entry.value, entry.session) == ("Frånk".encode(), session.id)
    assert claim.token == entry.revision


def test_enter_of_free_election_takes_one_write(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """The answer to that write shows that the claim leads."""
    before = shared_etcd.revision()

    claim = store.election(unique_key).enter(session, b"Frank")

    assert (claim.granted, claim.settled) == (True, True)
    assert claim.token == shared_etcd.revision() == before + 1
    assert store.election(unique_key).status(claim) == Leading(claim.token)


def test_second_candidate_waits(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """The first claim is granted and leads; the second is not granted and waits."""
    election = store.election(unique_key)

    first, second = election.enter(session, b"first"), election.enter(rival, b"second")

    assert (first.granted, second.granted) == (True, False)
    assert first.token is not None
    assert election.status(first) == Leading(first.token)
    assert isinstance(election.status(second), Waiting)
    leader = election.leader()
    assert leader is not None
    assert (str(leader), leader.token) == ("first", first.token)


def test_second_candidate_leads_after_withdrawal_of_first(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """Its token is the one of its entry; the first may enter again, behind it."""
    election = store.election(unique_key)
    first, second = election.enter(session, b"first"), election.enter(rival, b"second")

    election.withdraw(first)
    election.withdraw(first)
    again = election.enter(session, b"first")

    assert second.token is not None
    assert election.status(second) == Leading(second.token)
    assert not again.granted
    assert isinstance(election.status(again), Waiting)
    assert election.status(first) == Absent()


def test_tokens_grow_across_withdrawals_and_deletions(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
) -> None:
    """Each term has a larger token than the one before, also with the same session and value."""
    election = store.election(unique_key)
    tokens = []
    for number in range(6):
        claim = election.enter((session, rival)[number % 2], b"the same")
        assert claim.token is not None
        tokens.append(claim.token)
        if number % 3 == 2:
            shared_etcd.cli("del", "--prefix", f"{unique_key}/")
        election.withdraw(claim)

    assert tokens == sorted(set(tokens))


def test_deleted_claim_is_absent(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """An operator's deletion ends the term but not the session, which may enter again."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    shared_etcd.cli("del", f"{unique_key}/{session.id}")

    assert election.status(claim) == Absent()
    assert election.leader() is None

    again = election.enter(session, b"Frank")
    assert claim.token is not None
    assert again.token is not None
    assert again.token > claim.token
    assert election.status(claim) == Absent()
    election.withdraw(claim)  # the claim of the former term
    assert election.status(again) == Leading(again.token)


@pytest.mark.parametrize("bound", [False, True], ids=["without a lease", "with the lease"])
@pytest.mark.parametrize("value", ["Claire", "Frank"])
def test_overwritten_claim_is_absent(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    unique_key: str,
    value: str,
    bound: bool,
) -> None:
    """A foreign write changes the mod revision, even one of the same value with the same lease."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    words = [f"--lease={session.id}"] if bound else []
    shared_etcd.cli("put", *words, f"{unique_key}/{session.id}", value)

    assert election.status(claim) == Absent(overwritten=True)

    election.withdraw(claim)
    again = election.enter(session, b"Frank")
    assert again.token is not None
    assert election.status(again) == Leading(again.token)


def test_enter_replaces_key_of_earlier_claim(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """The key of an earlier claim of the session is deleted, and the new claim creates its own."""
    election = store.election(unique_key)
    left = election.enter(session, b"earlier")

    claim = election.enter(session, b"later")

    assert left.token is not None
    assert claim.token is not None
    assert claim.token > left.token
    assert election.status(left) == Absent()
    assert election.status(claim) == Leading(claim.token)
    assert len(shared_etcd.keys(f"{unique_key}/")) == 1


def test_keys_without_lease_do_not_block_election(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
) -> None:
    """A key that was put by hand is no claim, even if it is named like one."""
    for name in ("abc", "694d", "0abc", "ABC", "x", "1/2", rival.id):
        shared_etcd.cli("put", f"{unique_key}/{name}", "by hand")
    shared_etcd.cli("put", f"{unique_key}", "beside")
    shared_etcd.cli("put", f"--lease={rival.id}", f"{unique_key}/{rival.id}0", "wrong name")
    election = store.election(unique_key)

    claim = election.enter(session, b"Frank")

    assert claim.token is not None
    assert election.status(claim) == Leading(claim.token)
    leader = election.leader()
    assert leader is not None
    assert leader.value == "Frank"


def test_nested_elections_are_independent(
    store: EtcdStore, opened: Opener, shared_etcd: Etcd, unique_key: str
) -> None:
    """`a` and `a/b` have leaders of their own, however many candidates each has."""
    other = opened(shared_etcd.url)
    sessions = [other.open_session(60) for _ in range(12)]
    inner = [store.election(f"{unique_key}/b").enter(one, b"inner") for one in sessions]
    last = store.open_session(60)

    outer = store.election(unique_key).enter(sessions[0], b"outer")
    second = store.election(unique_key).enter(last, b"second")

    assert outer.token is not None
    assert store.election(unique_key).status(outer) == Leading(outer.token)
    assert isinstance(store.election(unique_key).status(second), Waiting)
    leaders = [store.election(key).leader() for key in (unique_key, f"{unique_key}/b")]
    assert [str(leader) for leader in leaders] == ["outer", "inner"]
    assert inner[0].token is not None
    assert store.election(f"{unique_key}/b").status(inner[0]) == Leading(inner[0].token)
    store.election(unique_key).withdraw(outer)
    assert second.token is not None
    assert store.election(unique_key).status(second) == Leading(second.token)
    for one in [*sessions, last]:
        one.close()


def test_revoked_lease_ends_claim(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """Renewing and entering raise `SessionLost`; withdrawing succeeds."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    shared_etcd.revoke(session.lease)

    assert election.status(claim) == Absent()
    with pytest.raises(SessionLost):
        session.renew()
    with pytest.raises(SessionLost):
        election.enter(session, b"Frank")
    election.withdraw(claim)
    session.close()
    assert election.leader() is None


def test_waiting_claim_with_revoked_lease_does_not_lead(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
) -> None:
    """The lease of a waiting candidate has ended when the leader resigns."""
    election = store.election(unique_key)
    leading, waiting = election.enter(session, b"leads"), election.enter(rival, b"phantom")
    assert isinstance(election.status(waiting), Waiting)
    shared_etcd.revoke(rival.lease)

    election.withdraw(leading)

    assert election.status(waiting) == Absent()
    assert election.leader() is None


def test_ttl_is_rounded_up_and_granted_ttl_counts(store: EtcdStore) -> None:
    """Etcd counts whole seconds, and raises a ttl that it finds too short."""
    fractional, shortest = store.open_session(4.2), store.open_session(0.1)

    assert (fractional.ttl, fractional.renew()) == (5.0, 5.0)
    assert shortest.ttl >= 1.0
    assert shortest.renew() == shortest.ttl
    assert store.expires_within(4.2) == 5.5
    fractional.close()
    shortest.close()
    shortest.close()


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 9_000_000_001, 1e300])
def test_open_session_rejects_invalid_ttl(store: EtcdStore, ttl: float) -> None:
    """The message names the ttl."""
    with pytest.raises(ConfigurationError, match="ttl"):
        store.open_session(ttl)


def test_enter_rejects_value_above_request_limit(
    store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """The message names the limit."""
    with pytest.raises(ConfigurationError, match=r"1\.5 MiB"):
        store.election(unique_key).enter(session, b"x" * 1_600_000)
    with pytest.raises(ConfigurationError, match=r"1\.5 MiB"):
        store.election(unique_key).enter(session, b"x" * 9_000_000)


def test_claims_created_in_one_transaction_are_all_found(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """Ten keys with one create revision, the claim among them last: it is before ours."""
    foreign = store.open_session(60)
    names = [f"x{number}" for number in range(9)] + [foreign.id]
    from leadership_etcd.rpc import TXN, encode_key, put_request, txn_request

    writes = [
        put_request(encode_key(f"{unique_key}/{name}"), b"theirs", foreign.lease) for name in names
    ]
    client_of(store).call(TXN, txn_request(then=writes))

    claim = store.election(unique_key).enter(session, b"ours")

    assert not claim.granted
    assert isinstance(store.election(unique_key).status(claim), Waiting)
    leader = store.election(unique_key).leader()
    assert leader is not None
    assert leader.value == "theirs"
    foreign.close()
    assert EtcdClaim.of(claim).token is not None
    assert store.election(unique_key).status(claim) == Leading(claim.token or 0)


def test_key_named_like_claim_without_lease_is_warned_of_once(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It blocks etcd's other clients; an entry with a short name causes no warning."""
    foreign = f"{unique_key}/694d8f0c1a2b3c4d"
    store.put(foreign, b"x")
    store.put(f"{unique_key}/1", b"x")
    election = store.election(unique_key)

    claim = election.enter(session, b"a")
    assert claim.token is not None
    for _ in range(3):
        assert election.status(claim) == Leading(claim.token)
        election.leader()

    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == 1
    assert foreign in warned[0]


@pytest.mark.parametrize("name", ["694d8f0c1a2b3c4d", "lock-0000000007", "1700000000000000001"])
def test_key_of_another_recipe_is_warned_of_once(
    store: EtcdStore,
    session: EtcdSession,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """It is bound to a lease, and named neither after it nor as an entry or a longer key."""
    other = store.open_session(60)
    store.put(f"{unique_key}/ann", b"x", session=other)
    store.put(f"{unique_key}/members/0000000001", b"x", session=other)
    foreign = f"{unique_key}/{name}"
    store.put(foreign, b"x", session=other)
    election = store.election(unique_key)

    claim = election.enter(session, b"a")
    assert claim.token is not None
    for _ in range(3):
        assert election.status(claim) == Leading(claim.token)
        election.leader()

    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == 1
    assert foreign in warned[0]
    other.close()
