from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from kazoo.security import make_acl

from leadership_core.errors import (
    ConfigurationError,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.store import Absent, Leader, Leading, Waiting
from leadership_zookeeper.claim import ZooKeeperClaim, first, in_order
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.servers.zookeeper import ZooKeeper
from tests.zookeeper.conftest import Opener, SessionOpener
from tests.zookeeper.tools import TTL, Seen, wait_until


def test_the_first_leads_with_the_id_of_the_transaction_that_made_its_node(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """Entering alone grants at once; the node is what kazoo makes, and the token its czxid."""
    claim = store.election(unique_key).enter(session, b"Frank")

    (name,) = operator.get_children(unique_key)
    data, stat = operator.get(f"{unique_key}/{name}")
    assert claim.granted
    assert (data, stat.czxid, stat.ephemeralOwner) == (b"Frank", claim.token, session.number)
    assert store.election(unique_key).standing(claim) == Leading(stat.czxid)
    assert store.election(unique_key).leader() == Leader("Frank", stat.czxid)


def test_the_second_waits_until_the_first_withdraws(
    store: ZooKeeperStore, session: ZooKeeperSession, rival: ZooKeeperSession, unique_key: str
) -> None:
    """It is woken then, and has a larger token."""
    election, woken = store.election(unique_key), threading.Event()
    leading = election.enter(session, b"Frank")
    waiting = election.enter(rival, b"Claire")
    election.on_turn(waiting, woken.set)
    assert not waiting.granted
    assert election.standing(waiting) == Waiting()
    assert not woken.is_set()

    election.withdraw(leading)

    assert woken.wait(2)
    standing = election.standing(waiting)
    assert isinstance(standing, Leading)
    assert leading.token is not None
    assert standing.token > leading.token


def test_a_handover_is_one_write_and_one_confirmation_and_wakes_one(
    shared_zookeeper: ZooKeeper, store: ZooKeeperStore, sessions: SessionOpener, unique_key: str
) -> None:
    """However many wait: the next one is woken, and has a majority confirm what it sees."""
    election = store.election(unique_key)
    all_sessions = [sessions() for _ in range(3)]
    claims = [election.enter(all_sessions[n % 3], b"%d" % n) for n in range(30)]
    wakes = [Seen() for _ in claims]
    for claim, wake in zip(claims, wakes, strict=True):
        election.on_turn(claim, wake)
    before = shared_zookeeper.zxid()

    election.withdraw(claims[0])
    wakes[1].wait(lambda _: True)
    standing = election.standing(claims[1])

    assert isinstance(standing, Leading)
    assert shared_zookeeper.zxid() == before + 2
    time.sleep(0.1)
    assert [len(wake) for wake in wakes[2:]] == [0] * 28


def test_one_in_the_middle_that_goes_makes_nobody_lead(
    store: ZooKeeperStore, sessions: SessionOpener, unique_key: str
) -> None:
    """The one after it is woken, and waits for the one before it then."""
    election = store.election(unique_key)
    claims = [election.enter(sessions(), b"%d" % n) for n in range(5)]
    woken = Seen()
    election.on_turn(claims[4], woken)
    for gone in claims[1:4]:
        election.withdraw(gone)
    woken.wait(lambda _: True)

    assert election.standing(claims[4]) == Waiting()
    woken.clear()
    election.withdraw(claims[0])
    woken.wait(lambda _: True)
    assert isinstance(election.standing(claims[4]), Leading)


def test_one_whose_session_was_ended_behind_its_back_never_leads(
    shared_zookeeper: ZooKeeper,
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    unique_key: str,
) -> None:
    """The phantom: its turn has come, and its session has gone before."""
    election, woken = store.election(unique_key), threading.Event()
    leading = election.enter(session, b"Frank")
    phantom = election.enter(rival, b"Claire")
    election.on_turn(phantom, woken.set)

    shared_zookeeper.expire(rival.number)
    election.withdraw(leading)

    assert woken.wait(2)
    with pytest.raises(SessionLost):
        election.standing(phantom)
    assert election.leader() is None


def test_a_leader_whose_session_is_ended_is_woken(
    shared_zookeeper: ZooKeeper, store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """Without waiting for its next renewal; and no other session takes its place."""
    election, woken = store.election(unique_key), threading.Event()
    claim = election.enter(session, b"Frank")
    election.on_turn(claim, woken.set)
    before = shared_zookeeper.sessions()

    shared_zookeeper.expire(session.number)

    assert woken.wait(2)
    with pytest.raises(SessionLost):
        election.standing(claim)
    with pytest.raises(SessionLost):
        session.renew()
    time.sleep(0.5)
    assert shared_zookeeper.sessions() <= before - {session.number}


def test_a_claim_that_was_deleted_by_hand_is_absent(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """It is woken, and may enter again, with a larger token."""
    election, woken = store.election(unique_key), threading.Event()
    claim = election.enter(session, b"Frank")
    election.on_turn(claim, woken.set)

    operator.delete(claim.path)

    assert woken.wait(2)
    assert election.standing(claim) == Absent()
    again = election.enter(session, b"Frank")
    assert claim.token is not None
    assert again.token is not None
    assert again.token > claim.token


def test_the_folder_of_an_election_may_be_deleted(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """Sequence numbers begin anew then; tokens go on growing."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    operator.delete(unique_key, recursive=True)

    assert election.standing(claim) == Absent()
    again = election.enter(session, b"Frank")
    assert again.granted
    assert (claim.path or "")[-10:] == (again.path or "")[-10:]
    assert (again.token or 0) > (claim.token or 0)


def test_a_leading_claim_that_was_written_over_is_lost_and_left_to_withdraw(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """Its work may be going on, so it stands until it is withdrawn; nobody is told that it leads."""
    election, woken = store.election(unique_key), threading.Event()
    claim = election.enter(session, b"Frank")
    election.on_turn(claim, woken.set)

    operator.set(claim.path, b"Doug")

    assert woken.wait(2)
    assert election.standing(claim) == Absent(overwritten=True)
    assert election.leader() is None
    assert operator.exists(claim.path)
    election.withdraw(claim)
    assert not operator.exists(claim.path)


def test_a_waiting_claim_that_was_written_over_is_taken_away(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    operator: Any,
    unique_key: str,
) -> None:
    """Or the next one of its session would wait for it as long as the session lives."""
    election = store.election(unique_key)
    election.enter(session, b"Frank")
    waiting = election.enter(rival, b"Claire")
    operator.set(waiting.path, b"Doug")

    assert election.standing(waiting) == Absent(overwritten=True)

    assert not operator.exists(waiting.path)


def test_withdrawing_again_and_late_does_no_harm(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """It names the one node that was this claim's, and never another one."""
    election = store.election(unique_key)
    old = election.enter(session, b"Frank")
    election.withdraw(old)
    new = election.enter(session, b"Frank")

    election.withdraw(old)
    old.withdrawn = False  # as a late copy of the request
    election.withdraw(old)

    assert isinstance(election.standing(new), Leading)


def test_elections_one_in_the_other_do_not_see_each_other(
    store: ZooKeeperStore, session: ZooKeeperSession, rival: ZooKeeperSession, unique_key: str
) -> None:
    """`a` and `a/b` are two; so are an election and an entry below it."""
    outer, inner = store.election(unique_key), store.election(f"{unique_key}/b")
    store.put(f"{unique_key}/c", b"an entry")

    claims = [inner.enter(session, b"inner"), outer.enter(rival, b"outer")]

    assert [claim.granted for claim in claims] == [True, True]
    assert [str(outer.leader()), str(inner.leader())] == ["outer", "inner"]


def test_an_election_below_an_entry_of_a_session_is_refused(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """ZooKeeper keeps nothing below such a node, and the message says so."""
    store.put(unique_key, b"bound", session=session)

    with pytest.raises(ConfigurationError, match="bound to a session"):
        store.election(f"{unique_key}/leader").enter(session, b"Frank")


def test_a_value_that_is_too_large_is_refused_before_it_breaks_the_connection(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """The session lives on, and so does its connection."""
    with pytest.raises(StoreRefused, match="bytes at most"):
        store.election(unique_key).enter(session, bytes(2**20))

    assert session.renew() == TTL


def test_followers_hear_of_every_leader_and_of_none(
    store: ZooKeeperStore, session: ZooKeeperSession, rival: ZooKeeperSession, unique_key: str
) -> None:
    """Before there is an election, too."""
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
    told = len(seen)
    election.enter(session, b"Frank")
    time.sleep(0.1)
    assert len(seen) == told


def test_the_chroot_is_made_and_keeps_elections_apart(
    shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """The same key under two chroots is two elections."""
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


def test_the_queue_goes_on_where_the_sequence_numbers_overflow() -> None:
    """After 2147483647 ZooKeeper counts on below zero; children that are no claims do not count."""
    names = [
        f"{n}__lock__{number}"
        for n, number in enumerate(["-2147483648", "2147483647", "-2147483647", "2147483640"])
    ]

    queue = in_order([*names, "folder", "x__lock__12", "y__rlock__0000000001"])

    assert [int(name.partition("__lock__")[2]) for name in queue] == [
        2147483640,
        2147483647,
        -2147483648,
        -2147483647,
    ]
    assert first(["folder"]) is None
    assert first(["b__lock__0000000010", "a__lock__0000000009"]) == "a__lock__0000000009"


def test_a_claim_that_never_entered_has_no_standing(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """And withdrawing it asks nobody."""
    claim = ZooKeeperClaim(unique_key, session, b"Frank")

    assert store.election(unique_key).standing(claim) == Absent()
    store.election(unique_key).withdraw(claim)
    assert claim.path is None


def test_a_closed_turn_is_not_called(
    store: ZooKeeperStore, session: ZooKeeperSession, unique_key: str
) -> None:
    """And leaves nothing in the bell of its session."""
    election, seen = store.election(unique_key), Seen()
    claim = election.enter(session, b"Frank")
    turn = election.on_turn(claim, seen)

    turn.close()
    turn.close()
    election.withdraw(claim)

    wait_until(lambda: not session.bell._rings)
    assert seen == []


def test_a_withdrawal_that_is_refused_is_not_done(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """Somebody has taken the right to delete away: the claim stands, and nobody is told otherwise."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    rights, _ = operator.get_acls(unique_key)
    operator.set_acls(unique_key, [make_acl("world", "anyone", read=True, create=True, admin=True)])

    with pytest.raises(StoreUnavailable):
        election.withdraw(claim)

    assert election.standing(claim) == Leading(claim.token or 0)
    operator.set_acls(unique_key, rights)
    election.withdraw(claim)
    assert election.leader() is None


def test_persistent_node_at_the_head_is_named_in_one_warning(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    operator: Any,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It blocks the election until it is deleted, which no session's end does."""
    name = "foreign__lock__0000000000"
    operator.ensure_path(unique_key)
    operator.create(f"{unique_key}/{name}", b"x")
    election = store.election(unique_key)
    claim = election.enter(session, b"a")

    for _ in range(3):
        assert isinstance(election.standing(claim), Waiting)

    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == 1
    assert f"/{unique_key}/{name} is not bound to a session" in warned[0]
    operator.delete(f"{unique_key}/{name}")
    assert isinstance(election.standing(claim), Leading)


def test_claim_of_a_session_at_the_head_is_no_reason_to_warn(
    store: ZooKeeperStore,
    session: ZooKeeperSession,
    rival: ZooKeeperSession,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    election = store.election(unique_key)
    election.enter(rival, b"a")
    assert isinstance(election.standing(election.enter(session, b"b")), Waiting)
    assert not [one for one in caplog.records if one.levelname == "WARNING"]
