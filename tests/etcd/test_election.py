"""The race for one key, as etcd has it."""

from __future__ import annotations

import pytest

from leadership_core.errors import ConfigurationError, SessionLost
from leadership_core.store import Absent, Leading, Waiting
from leadership_etcd.claim import EtcdClaim
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.etcd.conftest import Opener
from tests.servers.etcd import Etcd


def test_a_claim_is_a_key_named_after_its_lease(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """As Go's concurrency.Election has it: lower-case hex below the key, bound to the lease."""
    claim = store.election(unique_key).enter(session, "Frånk".encode())

    assert shared_etcd.keys(f"{unique_key}/") == {f"{unique_key}/{session.lease:x}": session.lease}
    entry = store.get(f"{unique_key}/{session.id}")
    assert entry is not None
    assert (entry.value, entry.session) == ("Frånk".encode(), session.id)
    assert claim.token == entry.revision


def test_a_free_race_is_won_with_one_write(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """The answer to entering says already who leads."""
    before = shared_etcd.revision()

    claim = store.election(unique_key).enter(session, b"Frank")

    assert (claim.granted, claim.settled) == (True, True)
    assert claim.token == shared_etcd.revision() == before + 1
    assert store.election(unique_key).standing(claim) == Leading(claim.token)


def test_a_second_candidate_waits(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """One claim is granted, the other is not, and both are told so."""
    election = store.election(unique_key)

    first, second = election.enter(session, b"first"), election.enter(rival, b"second")

    assert (first.granted, second.granted) == (True, False)
    assert first.token is not None
    assert election.standing(first) == Leading(first.token)
    assert isinstance(election.standing(second), Waiting)
    leader = election.leader()
    assert leader is not None
    assert (str(leader), leader.token) == ("first", first.token)


def test_the_second_leads_when_the_first_has_left(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """Its token is the one it got when it entered; the first may stand again, behind it."""
    election = store.election(unique_key)
    first, second = election.enter(session, b"first"), election.enter(rival, b"second")

    election.withdraw(first)
    election.withdraw(first)
    again = election.enter(session, b"first")

    assert second.token is not None
    assert election.standing(second) == Leading(second.token)
    assert not again.granted
    assert isinstance(election.standing(again), Waiting)
    assert election.standing(first) == Absent()


def test_tokens_grow_over_resignation_deletion_and_the_same_name(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
) -> None:
    """Each term has a greater token than the one before, whatever has happened in between."""
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


def test_a_deleted_claim_is_absent(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """An operator's deletion ends the term but not the session, which may enter again."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    shared_etcd.cli("del", f"{unique_key}/{session.id}")

    assert election.standing(claim) == Absent()
    assert election.leader() is None

    again = election.enter(session, b"Frank")
    assert claim.token is not None
    assert again.token is not None
    assert again.token > claim.token
    assert election.standing(claim) == Absent()
    election.withdraw(claim)  # that of the old term
    assert election.standing(again) == Leading(again.token)


@pytest.mark.parametrize("bound", [False, True], ids=["without a lease", "with the lease"])
@pytest.mark.parametrize("value", ["Claire", "Frank"])
def test_an_overwritten_claim_is_over(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    unique_key: str,
    value: str,
    bound: bool,
) -> None:
    """A foreign write moves the modify revision, even one of the same value with the same lease."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    words = [f"--lease={session.id}"] if bound else []
    shared_etcd.cli("put", *words, f"{unique_key}/{session.id}", value)

    assert election.standing(claim) == Absent(overwritten=True)

    election.withdraw(claim)
    again = election.enter(session, b"Frank")
    assert again.token is not None
    assert election.standing(again) == Leading(again.token)


def test_what_an_earlier_claim_left_behind_is_not_adopted(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """It is taken away, and entering makes a key of its own."""
    election = store.election(unique_key)
    left = election.enter(session, b"earlier")

    claim = election.enter(session, b"later")

    assert left.token is not None
    assert claim.token is not None
    assert claim.token > left.token
    assert election.standing(left) == Absent()
    assert election.standing(claim) == Leading(claim.token)
    assert len(shared_etcd.keys(f"{unique_key}/")) == 1


def test_a_key_without_a_lease_does_not_stand_in_the_way(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
) -> None:
    """What was put by hand is nobody's, even where it looks like a claim: it would stay for ever."""
    for name in ("abc", "694d", "0abc", "ABC", "x", "1/2", rival.id):
        shared_etcd.cli("put", f"{unique_key}/{name}", "by hand")
    shared_etcd.cli("put", f"{unique_key}", "beside")
    shared_etcd.cli("put", f"--lease={rival.id}", f"{unique_key}/{rival.id}0", "wrong name")
    election = store.election(unique_key)

    claim = election.enter(session, b"Frank")

    assert claim.token is not None
    assert election.standing(claim) == Leading(claim.token)
    leader = election.leader()
    assert leader is not None
    assert leader.value == "Frank"


def test_elections_below_each_other_do_not_see_each_other(
    store: EtcdStore, opened: Opener, shared_etcd: Etcd, unique_key: str
) -> None:
    """`a` and `a/b` have leaders of their own, however many stand in each."""
    other = opened(shared_etcd.url)
    sessions = [other.open_session(60) for _ in range(12)]
    inner = [store.election(f"{unique_key}/b").enter(one, b"inner") for one in sessions]
    last = store.open_session(60)

    outer = store.election(unique_key).enter(sessions[0], b"outer")
    second = store.election(unique_key).enter(last, b"second")

    assert outer.token is not None
    assert store.election(unique_key).standing(outer) == Leading(outer.token)
    assert isinstance(store.election(unique_key).standing(second), Waiting)
    leaders = [store.election(key).leader() for key in (unique_key, f"{unique_key}/b")]
    assert [str(leader) for leader in leaders] == ["outer", "inner"]
    assert inner[0].token is not None
    assert store.election(f"{unique_key}/b").standing(inner[0]) == Leading(inner[0].token)
    store.election(unique_key).withdraw(outer)
    assert second.token is not None
    assert store.election(unique_key).standing(second) == Leading(second.token)
    for one in [*sessions, last]:
        one.close()


def test_a_revoked_lease_takes_the_claim_with_it(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """Renewal and entering say that the session is lost; withdrawing is fine."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    shared_etcd.revoke(session.lease)

    assert election.standing(claim) == Absent()
    with pytest.raises(SessionLost):
        session.renew()
    with pytest.raises(SessionLost):
        election.enter(session, b"Frank")
    election.withdraw(claim)
    session.close()
    assert election.leader() is None


def test_the_phantom_does_not_lead(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
) -> None:
    """The waiting one's lease is gone when the leader resigns: it must not believe that it leads."""
    election = store.election(unique_key)
    leading, waiting = election.enter(session, b"leads"), election.enter(rival, b"phantom")
    assert isinstance(election.standing(waiting), Waiting)
    shared_etcd.revoke(rival.lease)

    election.withdraw(leading)

    assert election.standing(waiting) == Absent()
    assert election.leader() is None


def test_a_ttl_is_rounded_up_and_what_is_granted_counts(store: EtcdStore) -> None:
    """Etcd knows whole seconds only, and raises what it finds too short."""
    fractional, shortest = store.open_session(4.2), store.open_session(0.1)

    assert (fractional.ttl, fractional.renew()) == (5.0, 5.0)
    assert shortest.ttl >= 1.0
    assert shortest.renew() == shortest.ttl
    assert store.expires_within(4.2) == 5.5
    fractional.close()
    shortest.close()
    shortest.close()


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 9_000_000_001, 1e300])
def test_a_ttl_that_cannot_be_is_refused(store: EtcdStore, ttl: float) -> None:
    """With a message that says so."""
    with pytest.raises(ConfigurationError, match="ttl"):
        store.open_session(ttl)


def test_a_value_that_is_too_large_is_refused(
    store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """The message says how much etcd takes."""
    with pytest.raises(ConfigurationError, match=r"1\.5 MiB"):
        store.election(unique_key).enter(session, b"x" * 1_600_000)
    with pytest.raises(ConfigurationError, match=r"1\.5 MiB"):
        store.election(unique_key).enter(session, b"x" * 9_000_000)


def test_foreign_claims_that_one_transaction_made_are_all_seen(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """Ten keys with one create revision, the claim among them last: it stands before ours."""
    foreign = store.open_session(60)
    names = [f"x{number}" for number in range(9)] + [foreign.id]
    from leadership_etcd.messages import encode, put, txn
    from leadership_etcd.methods import TXN

    writes = [put(encode(f"{unique_key}/{name}"), b"theirs", foreign.lease) for name in names]
    store._client.call(TXN, txn(then=writes))

    claim = store.election(unique_key).enter(session, b"ours")

    assert not claim.granted
    assert isinstance(store.election(unique_key).standing(claim), Waiting)
    leader = store.election(unique_key).leader()
    assert leader is not None
    assert leader.value == "theirs"
    foreign.close()
    assert EtcdClaim.of(claim).token is not None
    assert store.election(unique_key).standing(claim) == Leading(claim.token or 0)


def test_key_without_a_lease_that_looks_like_a_claim_is_named_in_one_warning(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is no claim here, and blocks the other clients of etcd; an entry with a short name does not."""
    foreign = f"{unique_key}/694d8f0c1a2b3c4d"
    store.put(foreign, b"x")
    store.put(f"{unique_key}/1", b"x")
    election = store.election(unique_key)

    claim = election.enter(session, b"a")
    assert claim.token is not None
    for _ in range(3):
        assert election.standing(claim) == Leading(claim.token)
        election.leader()

    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == 1
    assert foreign in warned[0]
