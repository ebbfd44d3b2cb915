"""Who is told when the standing of a claim, or the leader, changes."""

from __future__ import annotations

import time

import pytest

from leadership_core.budget import budget
from leadership_core.store import Absent, Leading, Waiting
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from leadership_etcd.turn import Turn
from tests.conftest import ProxyFactory
from tests.etcd.conftest import Opener
from tests.etcd.tools import Seen, is_led_by, wait_until
from tests.servers.etcd import Etcd


def test_one_of_many_that_wait_is_woken(
    store: EtcdStore, shared_etcd: Etcd, unique_key: str
) -> None:
    """The leader goes, the next is woken and leads; one in the middle goes, its successor looks."""
    election = store.election(unique_key)
    sessions = [store.open_session(60) for _ in range(6)]
    claims = [election.enter(one, b"x") for one in sessions]
    woken = [Seen() for _ in claims]
    turns = [election.on_turn(claim, wake) for claim, wake in zip(claims, woken, strict=True)]
    standings = [election.standing(claim) for claim in claims]
    assert [isinstance(one, Waiting) for one in standings] == [False] + [True] * 5
    time.sleep(0.2)

    before = shared_etcd.revision()
    election.withdraw(claims[0])
    wait_until(lambda: woken[1])
    time.sleep(0.2)
    assert [len(one) for one in woken] == [1, 1, 0, 0, 0, 0]
    assert election.standing(claims[1]) == Leading(claims[1].token or 0)
    assert shared_etcd.revision() == before + 1

    turns[3].close()
    election.withdraw(claims[3])
    wait_until(lambda: woken[4])
    assert isinstance(election.standing(claims[4]), Waiting)
    election.withdraw(claims[2])
    wait_until(lambda: len(woken[4]) == 2 and woken[2])  # two watches, told in any order
    assert [len(one) for one in woken] == [1, 1, 1, 0, 2, 0]
    for one in [*turns, *sessions]:
        one.close()


@pytest.mark.parametrize("how", ["lease", "key", "overwrite"])
def test_a_claim_that_is_lost_while_waiting_is_woken(
    store: EtcdStore,
    shared_etcd: Etcd,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
    how: str,
) -> None:
    """It is not first and not there either: it says to enter again."""
    election, woken = store.election(unique_key), Seen()
    election.enter(session, b"leads")
    claim = election.enter(rival, b"waits")
    turn = election.on_turn(claim, woken)
    assert election.standing(claim) == Waiting()

    if how == "lease":
        shared_etcd.revoke(rival.lease)
    elif how == "key":
        shared_etcd.cli("del", f"{unique_key}/{rival.id}")
    else:
        shared_etcd.cli("put", f"{unique_key}/{rival.id}", "by hand")

    wait_until(lambda: woken)
    assert election.standing(claim) == Absent(overwritten=how == "overwrite")
    turn.close()


def test_followers_hear_of_every_change_of_leader(
    store: EtcdStore,
    shared_etcd: Etcd,
    session: EtcdSession,
    rival: EtcdSession,
    unique_key: str,
) -> None:
    """None, the first, another one, the first again with a new token, none after a revocation."""
    election, seen = store.election(unique_key), Seen()
    watch = election.watch_leader(seen)
    seen.wait(lambda one: one is None)
    first = election.enter(session, b"first")
    earlier = seen.wait(is_led_by("first"))
    election.enter(rival, b"second")
    election.withdraw(first)
    seen.wait(is_led_by("second"))
    election.enter(session, b"first")
    shared_etcd.revoke(rival.lease)
    later = seen.wait(is_led_by("first"))
    assert later.token > earlier.token
    shared_etcd.cli("put", f"{unique_key}/{session.id}", "by hand")
    seen.wait(lambda one: one is None)
    watch.close()


def test_a_claim_whose_deletion_was_told_is_over_without_another_request(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The next one has heard of it, too, and has only to ask before it leads."""
    link = proxy(shared_etcd.port)
    store = opened(shared_etcd.url_at(link.port))
    session, election, woken = store.open_session(60), store.election(unique_key), Seen()
    claim = election.enter(session, b"leads")
    turn = election.on_turn(claim, woken)
    assert election.standing(claim) == Leading(claim.token or 0)

    shared_etcd.revoke(session.lease)
    wait_until(lambda: woken)
    link.cut()

    with budget(0.2):
        assert election.standing(claim) == Absent()
    link.heal()
    turn.close()


def test_one_before_that_goes_before_it_is_watched_is_told(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """The watch begins where the look at the queue was, and not where etcd is by then."""
    election, woken = store.election(unique_key), Seen()
    before, claim = election.enter(session, b"before"), election.enter(rival, b"waits")
    turn = Turn(store._watcher, claim.own, claim.token or 0, woken)
    looked = store._client.revision
    election.withdraw(before)

    turn.follow(before.own, looked)

    wait_until(lambda: woken)
    turn.close()


def test_a_claim_listens_to_one_other_claim_at_a_time(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """What it does not stand behind any more is let go, and in the end all is."""
    election = store.election(unique_key)
    first, claim = election.enter(session, b"first"), election.enter(rival, b"waits")
    turn = election.on_turn(claim, lambda: None)

    def listened_to() -> set[bytes]:
        return {watch.key for watch in store._watcher._watches}

    assert isinstance(election.standing(claim), Waiting)
    assert listened_to() == {first.own, claim.own}
    election.withdraw(first)
    for _ in range(2):  # whoever has just won does not spend time on that at once
        assert isinstance(election.standing(claim), Leading)
    assert listened_to() == {claim.own}
    turn.close()
    assert not listened_to()
