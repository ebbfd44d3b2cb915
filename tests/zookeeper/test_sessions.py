"""What a server grants, now and after it was started with another configuration."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Any

import pytest

from leadership_core import clock
from leadership_core.budget import budget
from leadership_core.errors import (
    ConfigurationError,
    ForkedStore,
    SessionLost,
    StoreClosed,
    StoreUnavailable,
)
from leadership_core.store import Leader, Leading
from leadership_zookeeper.grant import Grant, Greeting
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.wire import Tap
from tests.conftest import ZooKeeperFactory
from tests.servers.zookeeper import ZooKeeper, ZooKeeperServer
from tests.servers.zookeeper_cluster import ZooKeeperCluster
from tests.support.machine import at_most
from tests.zookeeper.conftest import Opener
from tests.zookeeper.tools import Seen, our_threads, wait_until


def renewed(session: ZooKeeperSession) -> float:
    """Renew it as the engine does: again while the connection is not back yet."""
    until = time.monotonic() + 5
    while True:
        try:
            with budget(1):
                return session.renew()
        except StoreUnavailable:
            assert time.monotonic() < until, "it cannot be renewed"


def test_a_shorter_grant_at_a_new_connection_counts(
    zookeeper_server: ZooKeeperFactory, opened: Opener
) -> None:
    """The server is started again with a smaller maximum: the next renewal says so."""
    server = zookeeper_server(max_session=8)
    session = opened(server.url).open_session(8)
    assert session.renew() == 8

    server.stop()
    server.settings["maxSessionTimeout"] = 3000
    server.start()

    assert renewed(session) == 3
    assert session.ttl == 3


def test_nobody_leads_without_knowing_what_was_granted(
    shared_zookeeper: ZooKeeper, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a kazoo that reads its sockets in another way."""
    monkeypatch.setattr(Tap, "pass_on", lambda _, receive: receive())
    monkeypatch.setattr(Tap, "greeted", True)

    with pytest.raises(ConfigurationError, match="install kazoo"):
        opened(shared_zookeeper.url).open_session(4)


def test_a_greeting_is_read_whatever_the_pieces() -> None:
    """Byte by byte, or with all that follows; and nonsense is no grant."""
    answer = bytes.fromhex("00000025 00000000 00000fa0 0100000cafe00001 00000010") + bytes(17)
    for size in (1, 7, 100):
        seen = Seen()
        greeting = Greeting(seen)
        for start in range(0, len(answer), size):
            greeting.pass_by(answer[start : start + size])
        assert seen == [Grant(4.0, 0x100000CAFE00001)]
        assert not greeting.is_nonsense


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes.fromhex("00000025 00000000 00000fa0 0000000000000000 00000010") + bytes(17),
        bytes.fromhex("ffffffff 00000000 00000fa0 0100000cafe00001 00000010") + bytes(17),
    ],
    ids=["HTTP", "no session", "negative length"],
)
def test_a_greeting_of_nonsense_is_no_grant(answer: bytes) -> None:
    """Nobody is connected by it."""
    nonsense = Seen()
    greeting = Greeting(nonsense)
    greeting.pass_by(answer)
    assert nonsense == []
    assert greeting.is_nonsense


def test_a_session_rides_out_a_restart(
    zookeeper: ZooKeeperServer, opened: Opener, unique_key: str
) -> None:
    """The server keeps sessions on disk: the same one goes on, and its claim stands."""
    store = opened(zookeeper.url)
    session, woken = store.open_session(8), threading.Event()
    claim = store.election(unique_key).enter(session, b"Frank")
    store.election(unique_key).on_turn(claim, woken.set)
    woken.clear()

    zookeeper.restart()

    renewed(session)
    with budget(5):
        assert store.election(unique_key).standing(claim) == Leading(claim.token or 0)
    assert woken.wait(2)


def test_a_server_whose_data_are_gone_is_used_again(
    zookeeper_server: ZooKeeperFactory,
    opened: Opener,
    monkeypatch: pytest.MonkeyPatch,
    unique_key: str,
) -> None:
    """It lets in nobody who remembers more than it does: the session ends, a new client comes."""
    monkeypatch.setattr("leadership_zookeeper.reader._TIMEOUT", 2.0)
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

    wait_until(lambda: session.link.over)
    with pytest.raises(SessionLost):
        session.renew()
    seen.wait(lambda leader: leader is None, 8)
    assert store.election(unique_key).enter(store.open_session(3), b"Frank").granted
    seen.wait(lambda leader: isinstance(leader, Leader))


def test_a_session_moves_to_another_server(
    zookeeper_cluster: ZooKeeperCluster, opened: Opener, unique_key: str
) -> None:
    """The one that it is connected to is killed; it goes on within its ttl, and still leads."""
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
            with budget(2):
                session.renew()
                assert store.election(unique_key).standing(claim) == Leading(claim.token or 0)
            break
        except StoreUnavailable:  # what was under way is lost, also when the next one goes down
            assert clock.now() - began < at_most(5)


def test_a_follower_that_is_cut_off_acknowledges_no_renewal(
    zookeeper_cluster: ZooKeeperCluster, opened: Opener
) -> None:
    """It goes on answering reads for seconds, and would answer pings."""
    follower = zookeeper_cluster.followers()[0]
    session = opened(follower.url).open_session(6)
    session.renew()

    zookeeper_cluster.cut_off(follower)

    with budget(1.0), pytest.raises(Exception, match="no answer"):
        session.renew()


def test_a_closed_store_leaves_its_sessions_to_their_ttl(
    shared_zookeeper: ZooKeeper, opened: Opener
) -> None:
    """One that was not closed may hold the claim of work that goes on."""
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


def test_the_store_is_inert_in_a_forked_child(
    shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """Its calls raise, its close touches nothing, and the parent goes on as before."""
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
            session.link.cut()
            store.close()
        finally:
            os._exit(code)

    assert os.waitpid(pid, 0)[1] == 0

    assert session.renew() == 4
    entry: Any = store.get(unique_key)
    assert entry.value == b"1"


def test_death_of_a_thread_of_kazoo_is_logged_and_its_session_replaced(
    shared_zookeeper: ZooKeeper,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error that kazoo does not expect ends its thread: the session is lost, and one says why."""
    store = opened(shared_zookeeper.url)
    session = store.open_session(4)
    store.put(unique_key, b"1")

    def fail(*_: Any, **__: Any) -> Any:
        raise KeyError("a mistake in kazoo")

    for link in (session.link, store._reader.link()):
        monkeypatch.setattr(link._handler, "_poll", fail)
        link.send(lambda client: client.exists_async("/"))  # wakes its thread
        wait_until(lambda link=link: link.over)  # type: ignore[misc]  # mypy cannot type a lambda's defaults

    with pytest.raises(SessionLost), budget(3):
        session.renew()
    assert store.open_session(4).renew() == 4
    entry = store.get(unique_key)
    assert entry is not None
    assert entry.value == b"1"
    died = [one for one in caplog.records if "has died" in one.message]
    assert [one.levelname for one in died] == ["ERROR", "ERROR"]
    assert died[0].exc_info is not None


def test_closing_a_session_waits_for_another_thread_no_longer_than_its_budget(
    zookeeper_server: ZooKeeperFactory, opened: Opener
) -> None:
    """The one that came first waits for a server that is silent; the second has less time."""
    server = zookeeper_server()
    session = opened(server.url).open_session(20)
    server.pause()
    try:
        first = threading.Thread(target=_close_within, args=(session, 4.0))
        first.start()
        time.sleep(0.2)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable), budget(0.3):
            session.close()
        assert time.monotonic() - begun < at_most(2)
    finally:
        server.resume()
        first.join()


def _close_within(session: ZooKeeperSession, seconds: float) -> None:
    with contextlib.suppress(StoreUnavailable, SessionLost), budget(seconds):
        session.close()


def test_a_reader_is_replaced_without_a_lock_held(
    shared_zookeeper: ZooKeeper, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one thread waits for the end of the last client's thread, others get the new one."""
    reader = opened(shared_zookeeper.url)._reader
    old = reader.link()
    joining, proceed = threading.Event(), threading.Event()

    def join(_: float) -> None:
        joining.set()
        proceed.wait(5)

    monkeypatch.setattr(old, "join", join)
    old.cut(StoreUnavailable("for the test"))
    replacer = threading.Thread(target=reader.link)
    replacer.start()
    try:
        assert joining.wait(5)
        found: list[object] = []
        other = threading.Thread(target=lambda: found.append(reader.link()), daemon=True)
        other.start()
        other.join(2)
        assert found, "it waits for what the first one waits for"
        assert found[0] is not old
    finally:
        proceed.set()
        replacer.join()
