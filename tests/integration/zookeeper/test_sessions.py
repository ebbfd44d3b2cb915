"""Sessions: granted timeouts, restarts of servers, and their ends."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from functools import partial
from typing import Any

import pytest

from leadership_core.backend import clock
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import Leader, Leading
from leadership_core.backend.url import StoreURL
from leadership_core.errors import (
    ConfigurationError,
    ForkedStore,
    SessionLost,
    StoreClosed,
    StoreUnavailable,
)
from leadership_zookeeper.options import Options
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.shared_client import SharedClient
from leadership_zookeeper.sockets import ConnectionMonitor, ConnectResponse, ConnectResponseParser
from leadership_zookeeper.transport import Handler
from tests.conftest import ZooKeeperFactory
from tests.integration.zookeeper.conftest import Opener
from tests.integration.zookeeper.tools import our_threads
from tests.support.servers.zookeeper import ZooKeeper, ZooKeeperServer
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster
from tests.support.waiting import Seen, at_most, wait_until


def renewed(session: ZooKeeperSession) -> float:
    """Renew it as the engine does: again while the connection is not back yet."""
    until = time.monotonic() + 5
    while True:
        try:
            with call_timeout(1):
                return session.renew()
        except StoreUnavailable:
            assert time.monotonic() < until, "it cannot be renewed"


def test_shorter_ttl_granted_on_reconnect_applies(
    zookeeper_server: ZooKeeperFactory, opened: Opener
) -> None:
    """The server is restarted with a smaller maximum, which the next renewal returns."""
    server = zookeeper_server(max_session=8)
    session = opened(server.url).open_session(8)
    assert session.renew() == 8

    server.stop()
    server.settings["maxSessionTimeout"] = 3000
    server.start()

    assert renewed(session) == 3
    assert session.ttl == 3


def test_open_session_raises_when_granted_ttl_is_unknown(
    shared_zookeeper: ZooKeeper, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release of kazoo may read its sockets in another way."""
    monkeypatch.setattr(ConnectionMonitor, "receive", lambda _, receive: receive())
    monkeypatch.setattr(ConnectionMonitor, "responded", True)

    with pytest.raises(ConfigurationError, match="install kazoo"):
        opened(shared_zookeeper.url).open_session(4)


def test_connect_response_is_parsed_from_pieces() -> None:
    """The pieces have any size, and may contain the bytes that follow."""
    answer = bytes.fromhex("00000025 00000000 00000fa0 0100000cafe00001 00000010") + bytes(17)
    for size in (1, 7, 100):
        seen = Seen()
        greeting = ConnectResponseParser(seen)
        for start in range(0, len(answer), size):
            greeting.feed(answer[start : start + size])
        assert seen == [ConnectResponse(4.0, 0x100000CAFE00001)]
        assert not greeting.is_invalid


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes.fromhex("00000025 00000000 00000fa0 0000000000000000 00000010") + bytes(17),
        bytes.fromhex("ffffffff 00000000 00000fa0 0100000cafe00001 00000010") + bytes(17),
    ],
    ids=["HTTP", "no session", "negative length"],
)
def test_invalid_connect_response_is_rejected(answer: bytes) -> None:
    """It is not reported as a connection."""
    nonsense = Seen()
    greeting = ConnectResponseParser(nonsense)
    greeting.feed(answer)
    assert nonsense == []
    assert greeting.is_invalid


def test_session_and_claim_survive_restart_of_server(
    zookeeper: ZooKeeperServer, opened: Opener, unique_key: str
) -> None:
    """The server keeps sessions on disk."""
    store = opened(zookeeper.url)
    session, woken = store.open_session(8), threading.Event()
    claim = store.election(unique_key).enter(session, b"Frank")
    store.election(unique_key).watch_claim(claim, woken.set)
    woken.clear()

    zookeeper.restart()

    renewed(session)
    with call_timeout(5):
        assert store.election(unique_key).status(claim) == Leading(claim.token or 0)
    assert woken.wait(2)


def test_store_recovers_after_loss_of_server_data(
    zookeeper_server: ZooKeeperFactory,
    opened: Opener,
    monkeypatch: pytest.MonkeyPatch,
    unique_key: str,
) -> None:
    """The server rejects clients with newer transactions, so they are replaced."""
    monkeypatch.setattr("leadership_zookeeper.shared_client._TIMEOUT", 2.0)
    server = zookeeper_server()
    store, seen = opened(server.url), Seen()
    session = store.open_session(3)
    store.election(unique_key).enter(session, b"Frank")
    store.election(unique_key).watch_leader(seen)
    seen.wait(lambda leader: isinstance(leader, Leader))

    server.stop()
    for file in (server.folder / "data").rglob("*"):
        if file.is_file() and file.name != "myid":
            file.unlink()
    server.start()

    wait_until(lambda: session.client.closed)
    with pytest.raises(SessionLost):
        session.renew()
    seen.wait(lambda leader: leader is None, 8)
    assert store.election(unique_key).enter(store.open_session(3), b"Frank").granted
    seen.wait(lambda leader: isinstance(leader, Leader))


def test_leader_survives_death_of_its_server(
    zookeeper_cluster: ZooKeeperCluster, opened: Opener, unique_key: str
) -> None:
    """The session moves to another server within its ttl."""
    store = opened(zookeeper_cluster.url)
    session = store.open_session(6)
    claim = store.election(unique_key).enter(session, b"Frank")
    number = session.number
    connected = next(
        node for node in zookeeper_cluster.nodes if f"sid=0x{number:x}" in node.ask("cons")
    )
    began = clock.now()

    connected.kill()

    while True:
        try:
            with call_timeout(2):
                session.renew()
                assert store.election(unique_key).status(claim) == Leading(claim.token or 0)
            break
        except (
            StoreUnavailable
        ):  # requests on the old connection are lost, also if the next server fails
            assert clock.now() - began < at_most(5)


def test_partitioned_follower_acknowledges_no_renewal(
    zookeeper_cluster: ZooKeeperCluster, opened: Opener
) -> None:
    """It answers reads for seconds, and would answer pings."""
    follower = zookeeper_cluster.followers()[0]
    session = opened(follower.url).open_session(6)
    session.renew()

    zookeeper_cluster.cut_off(follower)

    with call_timeout(1.0), pytest.raises(Exception, match="no answer"):
        session.renew()


def test_store_close_leaves_sessions_to_expire(shared_zookeeper: ZooKeeper, opened: Opener) -> None:
    """An open session may hold a claim whose work continues."""
    store = opened(shared_zookeeper.url)
    session = store.open_session(2)

    store.close()

    assert session.number in shared_zookeeper.sessions()
    with pytest.raises((SessionLost, StoreClosed)):
        session.renew()
    with pytest.raises(StoreClosed):
        store.get("a")
    with pytest.raises(StoreClosed):
        store.open_session(2)
    assert our_threads() == []


def test_store_is_inert_in_forked_child(
    shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """Its calls raise there, and its close does not affect the parent."""
    store = opened(shared_zookeeper.url)
    session = store.open_session(4)
    store.put(unique_key, b"1")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            try:
                store.get(unique_key)
            except ForkedStore:
                code = 0
            session.client.disconnect()
            store.close()
        finally:
            os._exit(code)

    assert os.waitpid(pid, 0)[1] == 0

    assert session.renew() == 4
    entry: Any = store.get(unique_key)
    assert entry.value == b"1"


def test_death_of_kazoo_thread_is_logged_and_client_replaced(
    shared_zookeeper: ZooKeeper,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An unexpected error ends the thread: the session is lost, and the log has the error."""
    store = opened(shared_zookeeper.url)
    session = store.open_session(4)
    store.put(unique_key, b"1")

    def fail(*_: Any, **__: Any) -> Any:
        raise KeyError("a mistake in kazoo")

    clients = (session.client, store.debug_state().client)
    monkeypatch.setattr(Handler, "_poll", fail)
    for client in clients:
        client.post(lambda kazoo: kazoo.exists_async("/"))  # wakes its thread
        wait_until(partial(getattr, client, "closed"))
    monkeypatch.undo()

    with pytest.raises(SessionLost), call_timeout(3):
        session.renew()
    assert store.open_session(4).renew() == 4
    entry = store.get(unique_key)
    assert entry is not None
    assert entry.value == b"1"
    died = [one for one in caplog.records if "has died" in one.message]
    assert [one.levelname for one in died] == ["ERROR", "ERROR"]
    assert died[0].exc_info is not None


def test_session_close_waits_for_other_thread_within_timeout(
    zookeeper_server: ZooKeeperFactory, opened: Opener
) -> None:
    """The first thread waits for a silent server; the second has less time."""
    server = zookeeper_server()
    session = opened(server.url).open_session(20)
    server.pause()
    try:
        first = threading.Thread(target=_close_within, args=(session, 4.0))
        first.start()
        time.sleep(0.2)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable), call_timeout(0.3):
            session.close()
        assert time.monotonic() - begun < at_most(2)
    finally:
        server.resume()
        first.join()


def _close_within(session: ZooKeeperSession, seconds: float) -> None:
    with contextlib.suppress(StoreUnavailable, SessionLost), call_timeout(seconds):
        session.close()


def test_request_during_store_close_raises_store_closed(shared_zookeeper: ZooKeeper) -> None:
    """The client of the store is no session of the user's, which could be lost."""
    shared_client = SharedClient(Options.read(StoreURL.parse(shared_zookeeper.url)))
    client = shared_client.current()
    client.wait_connected()

    shared_client.close()

    with pytest.raises(StoreClosed):
        client.wait_connected()


def test_shared_client_is_replaced_without_holding_lock(
    shared_zookeeper: ZooKeeper, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one thread waits for the old client's thread, others get the new client."""
    shared_client = SharedClient(Options.read(StoreURL.parse(shared_zookeeper.url)))
    old = shared_client.current()
    joining, proceed = threading.Event(), threading.Event()

    def join(_: float) -> None:
        joining.set()
        proceed.wait(5)

    monkeypatch.setattr(old, "join", join)
    old.disconnect(StoreUnavailable("for the test"))
    replacer = threading.Thread(target=shared_client.current)
    replacer.start()
    try:
        assert joining.wait(5)
        found: list[object] = []
        other = threading.Thread(target=lambda: found.append(shared_client.current()), daemon=True)
        other.start()
        other.join(2)
        assert found, "it waits for what the first one waits for"
        assert found[0] is not old
    finally:
        proceed.set()
        replacer.join()
        shared_client.close()
