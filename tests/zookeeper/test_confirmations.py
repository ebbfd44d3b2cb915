"""One confirming transaction serves all that wait for it, and none that was asked for after it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leadership_core.budget import budget
from leadership_core.errors import StoreUnavailable
from leadership_zookeeper.client import kazoo_client
from leadership_zookeeper.confirmation import Confirmations
from leadership_zookeeper.store import ZooKeeperStore
from tests.servers.zookeeper import ZooKeeper
from tests.zookeeper.tools import wait_until


class _Answer:
    """What a link has sent; answered when the test says so."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.ready = self.event.is_set


class _Link:
    """Sends nothing, and counts."""

    def __init__(self) -> None:
        self.sent: list[_Answer] = []

    def wait_connected(self) -> None:
        pass

    def post(self, *requests: Any) -> list[_Answer]:
        assert len(requests) == 1
        self.sent.append(_Answer())
        return self.sent[-1:]

    def answer(self, pending: _Answer, doing: str) -> list[bool]:
        if not pending.event.wait(5):
            raise StoreUnavailable(doing)
        return [True]


def test_those_that_wait_share_the_next_one() -> None:
    """The one on the way was sent before they asked, so it proves nothing to them."""
    link, confirmations = _Link(), Confirmations()

    def confirm() -> Any:
        pending = confirmations.send(link, "read")
        confirmations.finish(link, pending, "read")
        return pending

    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(confirm)
        wait_until(lambda: len(link.sent) == 1)
        others = [pool.submit(confirm) for _ in range(8)]
        wait_until(lambda: len(confirmations._changed._waiters) == 8)  # type: ignore[attr-defined]
        assert len(link.sent) == 1
        link.sent[0].event.set()
        wait_until(lambda: len(link.sent) == 2)
        link.sent[1].event.set()
        shared = {one.result(5) for one in others}

    assert first.result() is link.sent[0]
    assert shared == {link.sent[1]}


def test_one_whose_thread_was_interrupted_holds_up_nobody() -> None:
    """It has sent a transaction and does not wait for the answer."""
    link, confirmations = _Link(), Confirmations()
    confirmations.send(link, "read")

    with budget(0.3), pytest.raises(StoreUnavailable):
        confirmations.send(link, "read")
    link.sent[0].event.set()

    assert confirmations.send(link, "read") is link.sent[1]


def test_many_threads_that_read_cost_few_transactions(
    shared_zookeeper: ZooKeeper, store: ZooKeeperStore, unique_key: str
) -> None:
    """Each by itself costs one."""
    entry = store.put(unique_key, b"1")
    before = shared_zookeeper.zxid()
    for _ in range(3):
        assert store.get(unique_key) == entry
    alone = shared_zookeeper.zxid() - before
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.get(unique_key), range(200)))

    assert alone == 3
    assert set(found) == {entry}
    assert shared_zookeeper.zxid() - before - alone < 150


def test_what_a_client_was_shown_never_goes_back(store: ZooKeeperStore) -> None:
    """Not with a new session either: a server that is behind does not let it in."""
    link = store._nodes.link
    link.wait_connected()
    client = kazoo_client(store._options, link._handler, 4.0, None)

    client.last_zxid = 7
    client._reset()  # as kazoo does when a session has ended
    client.last_zxid = 5

    assert client.last_zxid == 7
