"""Elections: the queue of claims, their ends, and their followers."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from kazoo.security import make_acl

from leadership_core.backend.protocols import Absent, Leader, Leading, Waiting
from leadership_core.errors import ConfigurationError, SessionLost, StoreRefused, StoreUnavailable
from leadership_zookeeper.claim import ZooKeeperClaim
from leadership_zookeeper.recipe import KAZOO
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.conftest import Opener, SessionOpener
from tests.integration.zookeeper.tools import TTL
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import Seen, wait_until


def test_first_claim_leads_with_czxid_of_its_node(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """It is granted at once, and its node is like kazoo's."""
    claim = store.election(unique_key).enter(session, b"Frank")

    (name,) = operator.get_children(unique_key)
    data, stat = operator.get(f"{unique_key}/{name}")
    assert claim.granted
    assert (data, stat.czxid, stat.ephemeralOwner) == (b"Frank", claim.token, session.number)
    assert store.election(unique_key).status(claim) == Leading(stat.czxid)
    assert store.election(unique_key).leader() == Leader("Frank", stat.czxid)


def test_second_claim_leads_after_withdrawal_of_first(
    store: ZooKeeperStore, session: ZooKeeperSession, rival: ZooKeeperSession, unique_key: str
) -> None:
    """It is notified, and has a larger token."""
    election, woken = store.election(unique_key), threading.Event()
    leading = election.enter(session, b"Frank")
    waiting = election.enter(rival, b"Claire")
    election.watch_claim(waiting, woken.set)
    assert not waiting.granted
    assert election.status(waiting) == Waiting()
    assert not woken.is_set()

    election.withdraw(leading)

    assert woken.wait(2)
    status = election.status(waiting)
    assert isinstance(status, Leading)
    assert leading.token is not None
    assert status.token > leading.token


def test_handover_costs_one_transaction_and_wakes_one_claim(
    shared_zookeeper: ZooKeeper, store: ZooKeeperStore, sessions: SessionOpener, unique_key: str
) -> None:
    """The withdrawal, however many claims wait."""
    election = store.election(unique_key)
    all_sessions = [sessions() for _ in range(3)]
    claims = [election.enter(all_sessions[n % 3], b"%d" % n) for n in range(30)]
    wakes = [Seen() for _ in claims]
    for claim, wake in zip(claims, wakes, strict=True):
        election.watch_claim(claim, wake)
    before = shared_zookeeper.zxid()

    election.withdraw(claims[0])
    wakes[1].wait(lambda _: True)
    status = election.status(claims[1])

    assert isinstance(status, Leading)
    assert shared_zookeeper.zxid() == before + 1
    time.sleep(0.1)
    assert [len(wake) for wake in wakes[2:]] == [0] * 28


def test_withdrawal_of_waiting_claim_elects_no_other(
    store: ZooKeeperStore, sessions: SessionOpener, unique_key: str
) -> None:
    """The claim after it is notified, and waits for the next predecessor."""
    election = store.election(unique_key)
    claims = [election.enter(sessions(), b"%d" % n) for n in range(5)]
    woken = Seen()
    election.watch_claim(claims[4], woken)
    for gone in claims[1:4]:
        election.withdraw(gone)
    woken.wait(lambda _: True)

    assert election.status(claims[4]) == Waiting()
    woken.clear()
    election.withdraw(claims[0])
    woken.wait(lambda _: True)
    assert isinstance(election.status(claims[4]), Leading)


def test_claim_of_ended_session_never_leads(
    shared_zookeeper: ZooKeeper,
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    unique_key: str,
) -> None:
    """Its session ended while it waited, and then its predecessor withdraws."""
    election, woken = store.election(unique_key), threading.Event()
    leading = election.enter(session, b"Frank")
    phantom = election.enter(rival, b"Claire")
    election.watch_claim(phantom, woken.set)

    shared_zookeeper.expire(rival.number)
    election.withdraw(leading)

    assert woken.wait(2)
    with pytest.raises(SessionLost):
        election.status(phantom)
    assert election.leader() is None


def test_leader_is_notified_of_end_of_session(
    shared_zookeeper: ZooKeeper, store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """It is notified before its next renewal, and no other session is opened."""
    election, woken = store.election(unique_key), threading.Event()
    claim = election.enter(session, b"Frank")
    election.watch_claim(claim, woken.set)
    before = shared_zookeeper.sessions()

    shared_zookeeper.expire(session.number)

    assert woken.wait(2)
    with pytest.raises(SessionLost):
        election.status(claim)
    with pytest.raises(SessionLost):
        session.renew()
    time.sleep(0.5)
    assert shared_zookeeper.sessions() <= before - {session.number}


def test_deleted_claim_is_absent(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """It is notified, and can enter again with a larger token."""
    election, woken = store.election(unique_key), threading.Event()
    claim = election.enter(session, b"Frank")
    election.watch_claim(claim, woken.set)

    operator.delete(claim.path)

    assert woken.wait(2)
    assert election.status(claim) == Absent()
    again = election.enter(session, b"Frank")
    assert claim.token is not None
    assert again.token is not None
    assert again.token > claim.token


def test_tokens_grow_after_deletion_of_election_folder(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """The sequence numbers of claims restart."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    operator.delete(unique_key, recursive=True)

    assert election.status(claim) == Absent()
    again = election.enter(session, b"Frank")
    assert again.granted
    assert (claim.path or "")[-10:] == (again.path or "")[-10:]
    assert (again.token or 0) > (claim.token or 0)


def test_overwritten_leading_claim_stays_until_withdrawn(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """Its work may continue; it is not reported as leader."""
    election, woken = store.election(unique_key), threading.Event()
    claim = election.enter(session, b"Frank")
    election.watch_claim(claim, woken.set)

    operator.set(claim.path, b"Doug")

    assert woken.wait(2)
    assert election.status(claim) == Absent(overwritten=True)
    assert election.leader() is None
    assert operator.exists(claim.path)
    election.withdraw(claim)
    assert not operator.exists(claim.path)


def test_overwritten_waiting_claim_is_withdrawn(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    operator: Any,
    unique_key: str,
) -> None:
    """Otherwise the next claim of its session would wait for it as long as the session exists."""
    election = store.election(unique_key)
    election.enter(session, b"Frank")
    waiting = election.enter(rival, b"Claire")
    operator.set(waiting.path, b"Doug")

    assert election.status(waiting) == Absent(overwritten=True)

    assert not operator.exists(waiting.path)


def test_repeated_and_late_withdrawal_is_harmless(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """It names the unique node of this claim."""
    election = store.election(unique_key)
    old = election.enter(session, b"Frank")
    election.withdraw(old)
    new = election.enter(session, b"Frank")

    election.withdraw(old)
    old.withdrawn = False  # as a late copy of the request
    election.withdraw(old)

    assert isinstance(election.status(new), Leading)


def test_nested_elections_are_independent(
    store: ZooKeeperStore, session: ZooKeeperSession, rival: ZooKeeperSession, unique_key: str
) -> None:
    """The elections are `a` and `a/b`, with an entry below one of them."""
    outer, inner = store.election(unique_key), store.election(f"{unique_key}/b")
    store.put(f"{unique_key}/c", b"an entry")

    claims = [inner.enter(session, b"inner"), outer.enter(rival, b"outer")]

    assert [claim.granted for claim in claims] == [True, True]
    assert [str(outer.leader()), str(inner.leader())] == ["outer", "inner"]


def test_election_below_bound_entry_is_configuration_error(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """ZooKeeper allows no children below an ephemeral node, which the message says."""
    store.put(unique_key, b"bound", session=session)

    with pytest.raises(ConfigurationError, match="bound to a session"):
        store.election(f"{unique_key}/leader").enter(session, b"Frank")


def test_enter_refuses_too_large_value(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """The connection and the session are not affected."""
    with pytest.raises(StoreRefused, match="bytes at most"):
        store.election(unique_key).enter(session, bytes(2**20))

    assert session.renew() == TTL


def test_leader_watch_reports_leaders_and_vacancies(
    store: ZooKeeperStore, session: ZooKeeperSession, rival: ZooKeeperSession, unique_key: str
) -> None:
    """It may begin before the election exists."""
    election, seen = store.election(unique_key), Seen()
    watch = election.watch_leader(seen)
    seen.wait(lambda leader: leader is None)
    claim = election.enter(session, b"Frank")
    seen.wait(lambda leader: leader == Leader("Frank", claim.token or 0))
    next_one = election.enter(rival, b"Claire")

    election.withdraw(claim)
    seen.wait(lambda leader: leader == Leader("Claire", next_one.token or 0))
    election.withdraw(next_one)
    seen.wait(lambda leader: leader is None)

    watch.close()
    reports = len(seen)
    election.enter(session, b"Frank")
    time.sleep(0.1)
    assert len(seen) == reports


def test_chroot_is_created_and_separates_elections(
    shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """The same key under two chroots names two elections."""
    urls = [
        shared_zookeeper.url_at(shared_zookeeper.port, chroot=f"/{unique_key}/{n}") for n in "ab"
    ]
    stores = [opened(url) for url in urls]

    claims = []
    for one in stores:
        key = f"{one.prefix}/leader"
        claims.append(one.election(key).enter(one.open_session(TTL), b"Frank"))

    assert [claim.granted for claim in claims] == [True, True]
    assert (claims[0].path or "").startswith(f"/{unique_key}/a/leader/")


def test_claims_are_sorted_across_overflow_of_sequence_numbers() -> None:
    """After 2147483647 comes -2147483648; children that are no claims are ignored."""
    names = [
        f"{n}__lock__{number}"
        for n, number in enumerate(["-2147483648", "2147483647", "-2147483647", "2147483640"])
    ]

    queue = KAZOO.sorted_claims([*names, "folder", "x__lock__12", "y__rlock__0000000001"])

    assert [int(name.partition("__lock__")[2]) for name in queue] == [
        2147483640,
        2147483647,
        -2147483648,
        -2147483647,
    ]
    assert KAZOO.first_claim(["folder"]) is None
    assert (
        KAZOO.first_claim(["b__lock__0000000010", "a__lock__0000000009"]) == "a__lock__0000000009"
    )


def test_claim_that_never_entered_is_absent(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """Withdrawing it sends no request."""
    claim = ZooKeeperClaim(unique_key, session, b"Frank")

    assert store.election(unique_key).status(claim) == Absent()
    store.election(unique_key).withdraw(claim)
    assert claim.path is None


def test_closed_claim_watch_is_not_called(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """It leaves no subscription of its session."""
    election, seen = store.election(unique_key), Seen()
    claim = election.enter(session, b"Frank")
    turn = election.watch_claim(claim, seen)

    turn.close()
    turn.close()
    election.withdraw(claim)

    wait_until(lambda: not session.dispatcher.paths)
    assert seen == []


def test_refused_withdrawal_raises_and_claim_stays(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """An operator has removed the permission to delete."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    rights, _ = operator.get_acls(unique_key)
    operator.set_acls(unique_key, [make_acl("world", "anyone", read=True, create=True, admin=True)])

    with pytest.raises(StoreUnavailable):
        election.withdraw(claim)

    assert election.status(claim) == Leading(claim.token or 0)
    operator.set_acls(unique_key, rights)
    election.withdraw(claim)
    assert election.leader() is None
