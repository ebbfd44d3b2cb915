"""kazoo's own programs and ours in the same elections."""

from __future__ import annotations

import threading
from typing import Any

from kazoo.recipe.election import Election as KazooElection

from leadership_core import Candidate, StoreHandle
from leadership_core.store import Leading, Waiting
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.servers.zookeeper import ZooKeeper
from tests.zookeeper.conftest import Opener
from tests.zookeeper.tools import TTL, Seen, kazoo, wait_until


def test_kazoo_sees_our_candidates_among_its_own(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """In the order of the queue, by the values that they stand with."""
    store.election(unique_key).enter(session, b"Frank")
    lock = operator.Lock(unique_key, "kazoo")
    waiting = threading.Thread(target=lock.acquire)
    waiting.start()
    wait_until(lambda: len(operator.get_children(unique_key)) == 2)

    assert operator.Election(unique_key).contenders() == ["Frank", "kazoo"]

    assert str(store.election(unique_key).leader()) == "Frank"
    session.close()
    waiting.join(5)
    assert str(store.election(unique_key).leader()) == "kazoo"
    lock.release()


def test_ours_waits_for_a_lock_of_kazoo_and_is_woken(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """A lock that does not go with its session is one, too."""
    for options in ({}, {"ephemeral": False}):
        lock, woken = operator.Lock(unique_key, "kazoo"), Seen()
        lock.acquire(**options)
        claim = store.election(unique_key).enter(session, b"Frank")
        store.election(unique_key).on_turn(claim, woken)
        assert store.election(unique_key).standing(claim) == Waiting()

        lock.release()

        woken.wait(lambda _: True)
        assert isinstance(store.election(unique_key).standing(claim), Leading)
        store.election(unique_key).withdraw(claim)


def test_they_take_turns_and_never_lead_at_once(
    shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """A candidate of ours and kazoo's Election, with a shared note of who leads."""
    leading: list[str] = []
    both: list[list[str]] = []
    turns = {"ours": 0, "kazoo": 0}

    def lead(who: str) -> None:
        leading.append(who)
        if len(leading) > 1:
            both.append(list(leading))
        turns[who] += 1

    stop = threading.Event()

    def run(client: Any) -> None:
        def work() -> None:
            lead("kazoo")
            stop.wait(0.02)
            leading.remove("kazoo")

        while not stop.is_set():
            KazooElection(client, unique_key, "kazoo").run(work)

    handle = StoreHandle(opened(shared_zookeeper.url), shared_zookeeper.url)
    with handle, kazoo(shared_zookeeper.port) as client:
        thread = threading.Thread(target=run, args=(client,))
        thread.start()
        candidate = Candidate(handle, unique_key, "ours", ttl=TTL)
        candidate.run_for_election()
        try:
            for _ in range(8):
                assert candidate.wait_elected(10) is not None
                lead("ours")
                stop.wait(0.02)
                leading.remove("ours")
                assert candidate.resign(0.05)
        finally:
            candidate.stop()
            stop.set()
            thread.join(10)

    assert both == []
    assert turns["ours"] == 8
    assert turns["kazoo"] >= 8
