"""Elections with kazoo's own recipes."""

from __future__ import annotations

import threading
from typing import Any

from kazoo.recipe.election import Election as KazooElection

from leadership_core import Candidate, Store
from leadership_core.backend.protocols import Leading, Waiting
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.conftest import Opener
from tests.integration.zookeeper.tools import TTL, kazoo
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import Seen, wait_until


def test_kazoo_lists_candidates_of_library(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """They are in the order of the queue, with their values."""
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


def test_candidate_waits_for_lock_of_kazoo(
    store: ZooKeeperStore, session: ZooKeeperSession, operator: Any, unique_key: str
) -> None:
    """It also waits for a lock whose node is not bound to a session."""
    for options in ({}, {"ephemeral": False}):
        lock, woken = operator.Lock(unique_key, "kazoo"), Seen()
        lock.acquire(**options)
        claim = store.election(unique_key).enter(session, b"Frank")
        store.election(unique_key).watch_claim(claim, woken)
        assert store.election(unique_key).status(claim) == Waiting()

        lock.release()

        woken.wait(lambda _: True)
        assert isinstance(store.election(unique_key).status(claim), Leading)
        store.election(unique_key).withdraw(claim)


def test_kazoo_election_and_candidate_never_lead_together(
    shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """Both record in a shared list when they lead."""
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

    handle = Store(opened(shared_zookeeper.url), shared_zookeeper.url)
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
