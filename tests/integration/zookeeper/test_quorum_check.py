"""Quorum checks: shared by the threads that wait for one, and proof against deposed leaders."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any
from unittest import mock

import pytest
from kazoo import exceptions as zk

from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.url import StoreURL
from leadership_core.errors import SessionLost, StoreUnavailable
from leadership_zookeeper.kazoo_client import new_client
from leadership_zookeeper.options import Options
from leadership_zookeeper.quorum_check import QuorumChecks, verify_quorum_check
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.conftest import Opener
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster
from tests.support.waiting import wait_until


class _Answer:
    """A pending request, which the test answers."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.ready = self.event.is_set


class _Client:
    """A client that only records what it is to send."""

    def __init__(self) -> None:
        self.sent: list[_Answer] = []

    def wait_connected(self) -> None:
        pass

    def post(self, *requests: Any) -> list[_Answer]:
        assert len(requests) == 1
        self.sent.append(_Answer())
        return self.sent[-1:]

    def result(self, pending: _Answer, doing: str) -> list[bool]:
        if not pending.event.wait(5):
            raise StoreUnavailable(doing)
        return [True]


def test_quorum_check_is_shared_by_waiting_threads() -> None:
    """A pending check was sent before they asked, so they wait for the next one."""
    client, quorum_checks = _Client(), QuorumChecks()

    def check() -> Any:
        pending = quorum_checks.send(client, "read")
        quorum_checks.finish(client, pending, "read")
        return pending

    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(check)
        wait_until(lambda: len(client.sent) == 1)
        others = [pool.submit(check) for _ in range(8)]
        wait_until(lambda: quorum_checks.waiting == 8)
        assert len(client.sent) == 1
        client.sent[0].event.set()
        wait_until(lambda: len(client.sent) == 2)
        client.sent[1].event.set()
        shared = {one.result(5) for one in others}

    assert first.result() is client.sent[0]
    assert shared == {client.sent[1]}


def test_quorum_check_of_interrupted_thread_blocks_no_other_thread() -> None:
    """A thread has sent a check, and does not wait for the answer."""
    client, quorum_checks = _Client(), QuorumChecks()
    quorum_checks.send(client, "read")

    with call_timeout(0.3), pytest.raises(StoreUnavailable):
        quorum_checks.send(client, "read")
    client.sent[0].event.set()

    assert quorum_checks.send(client, "read") is client.sent[1]


def test_concurrent_reads_cost_few_transactions(
    shared_zookeeper: ZooKeeper, store: ZooKeeperStore, unique_key: str
) -> None:
    """Each read of a single thread costs one."""
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


def test_client_remembers_newest_transaction_in_next_session() -> None:
    """So a server that lags rejects it, in a new session, too."""
    handler = mock.Mock(placeholders="127.0.0.1:1")
    client = new_client(Options.read(StoreURL.parse("zk://localhost")), handler, 4.0, None)

    client.last_zxid = 7
    client._reset()  # as kazoo does at the end of a session
    client.last_zxid = 5

    assert client.last_zxid == 7


@pytest.mark.parametrize("chroot", ["", "/that/is/missing"])
def test_partitioned_leader_acknowledges_no_renewal(
    chroot: str, zookeeper_cluster: ZooKeeperCluster, opened: Opener
) -> None:
    """It answers a `sync` for five ticks and more, while another leader counts its sessions."""
    leader = zookeeper_cluster.leader()
    session = opened(leader.url_at(leader.port, chroot=chroot)).open_session(10.0)
    with call_timeout(3.0):
        session.renew()

    zookeeper_cluster.cut_off(leader)

    with call_timeout(1.0), pytest.raises(StoreUnavailable):
        session.renew()


@pytest.mark.parametrize(
    ("step", "raises"),
    [
        (True, None),
        (zk.NoNodeError(), None),
        (zk.NoAuthError(), None),
        (zk.SessionExpiredError(), SessionLost),
        (zk.SessionMovedError(), StoreUnavailable),
        (zk.RolledBackError(), StoreUnavailable),
    ],
    ids=lambda of: getattr(of, "__name__", type(of).__name__),
)
def test_quorum_check_reports_end_of_session(step: object, raises: type[Exception] | None) -> None:
    """The leader may know the end of a session before its server does: a step reports it."""
    with pytest.raises(raises) if raises else nullcontext():
        verify_quorum_check([step], "renew the session")
