"""Errors of Redis, and what callers get for them: the outcome, and the cure in the message."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

import pytest
import redis as driver

from leadership_core import ForkedStore, StoreRefused, StoreUnavailable, open_store
from leadership_core.backend import NotApplied, StoreURL, call_timeout
from leadership_redis.store import RedisStore
from tests.conftest import RedisFactory
from tests.support.servers.ports import free_port
from tests.support.servers.redis import RedisServer
from tests.support.waiting import wait_until


@pytest.mark.parametrize(
    ("user", "password", "said"),
    [("", "", "requires a password"), ("", "wr0ng", "refuses the user or the password"),
     ("ann", "wr0ng", "refuses the user or the password")],
)  # fmt: skip
def test_wrong_login_is_refused_at_once(
    user: str, password: str, said: str, redis_server: RedisFactory
) -> None:
    """The message has the cure, and no password."""
    server = redis_server(password="s3cret/word")
    with open_store(server.url) as store:
        store.put("a", b"1")
    secret = f"{user}:{password}@" if password else ""
    with open_store(f"redis://{secret}{server.host}:{server.port}") as store:
        with pytest.raises(StoreRefused, match=said) as caught:
            store.get("a")
        assert "wr0ng" not in str(caught.value)


def test_password_for_a_server_without_one_is_refused(shared_redis: RedisServer) -> None:
    """Redis names the mistake, and so does the error."""
    with (
        open_store(f"redis://:x@{shared_redis.host}:{shared_redis.port}") as store,
        pytest.raises(StoreRefused, match="remove the password"),
    ):
        store.get("a")


def test_no_server_is_not_applied() -> None:
    """Nothing was sent."""
    with (
        open_store(f"redis://127.0.0.1:{free_port()}") as store,
        pytest.raises(NotApplied, match="is a Redis server running there"),
    ):
        store.put("a", b"1")


def test_full_memory_refuses_entries_and_no_renewals(redis_server: RedisFactory) -> None:
    """Elections go on, and the message says what to raise."""
    server = redis_server()
    with open_store(server.url) as store:
        session = store.open_session(30)
        entry = store.put("a", b"1")
        server.ask("CONFIG SET maxmemory 1mb", "CONFIG SET maxmemory-policy noeviction")
        with pytest.raises(NotApplied, match="raise maxmemory"):
            store.put("b", b"1")
        assert session.renew() == 30
        assert store.get("a") == entry
        store.delete("a")
        session.close()


def test_eviction_of_any_key_is_warned_of(
    redis_server: RedisFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """So is a server that writes nothing to its disk."""
    server = redis_server(
        settings={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru", "appendonly": "no"}
    )
    with caplog.at_level(logging.WARNING), open_store(server.url) as store:
        store.get("a")

    assert "maxmemory-policy allkeys-lru" in caplog.text
    assert "appendonly no" in caplog.text


def test_busy_server_has_not_applied_the_request(redis_server: RedisFactory) -> None:
    """Another program's script runs for longer than the server's limit."""
    server = redis_server(settings={"busy-reply-threshold": 100})
    with open_store(server.url) as store:
        store.get("a")
        link = socket.create_connection((server.host, server.port))
        link.sendall(b'EVAL "while true do end" 0\r\n')
        time.sleep(1)
        with pytest.raises(NotApplied, match="SCRIPT KILL"):
            store.get("a")
        wait_until(lambda: server.ask("SCRIPT KILL", "PING").endswith("+PONG\r\n+OK\r\n"), 10)
        link.close()
        assert store.get("a") is None


def test_foreign_keys_of_another_type_are_named(redis_server: RedisFactory) -> None:
    """The cure is another tag."""
    server = redis_server()
    server.ask("SET {leadership}:entries x")
    with (
        open_store(server.url) as store,
        pytest.raises(StoreRefused, match="choose another tag="),
    ):
        store.get("a")


def test_answer_byte_by_byte_is_given_up(shared_redis: RedisServer) -> None:
    """The timeout is that of the whole call, not of each read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                while True:
                    try:
                        link.sendall(b"$")
                    except OSError:
                        return
                    time.sleep(0.05)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        with open_store(f"redis://127.0.0.1:{port}") as store:
            begun = time.monotonic()
            with pytest.raises(StoreUnavailable), call_timeout(0.5):
                store.get("a")
            assert time.monotonic() - begun < 2
        thread.join(5)


def test_another_service_is_refused(redis_server: RedisFactory) -> None:
    """A web server on the port, for example."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(1000)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        with (
            open_store(f"redis://127.0.0.1:{port}") as store,
            pytest.raises(StoreRefused, match="does not speak the protocol of Redis"),
        ):
            store.get("a")
        thread.join(5)


@pytest.mark.parametrize("mutual", [False, True])
def test_tls_verifies_the_certificate(mutual: bool, redis_server: RedisFactory) -> None:
    """It works with the right authority, and the client's certificate where the server wants one."""
    server = redis_server(tls="mutual" if mutual else True)
    files = server.certificates
    assert files is not None
    own = f"&cert={files.client_cert}&key={files.client_key}" if mutual else ""
    with open_store(f"{server.url}{own}") as store:
        store.put("a", b"1")
    with (
        open_store(f"rediss://{server.host}:{server.port}") as store,
        pytest.raises(StoreRefused, match="is not trusted; set ca="),
    ):
        store.get("a")
    if mutual:
        with (
            open_store(server.url) as store,
            pytest.raises(StoreRefused, match="set cert= and key="),
        ):
            store.get("a")


def test_forked_child_is_inert(shared_redis: RedisServer, unique_key: str) -> None:
    """It refuses every call, and the parent's connections and watch go on after its end."""
    store = RedisStore(StoreURL.parse(shared_redis.url))
    try:
        store.put(unique_key, b"1")
        pid = os.fork()
        if pid == 0:
            try:
                store.close()
                store.get(unique_key)
            except ForkedStore:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert store.get(unique_key) is not None
        store.delete(unique_key)
    finally:
        store.close()


def test_crashed_session_without_a_claim_is_removed(
    redis_server: RedisFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process of the same tag ends it after observing it; a session that is renewed stays."""
    monkeypatch.setattr("leadership_redis.sweep._INTERVAL", 0.0)
    monkeypatch.setattr("leadership_redis.sweep._LEAST_SILENCE", 0.5)
    server = redis_server()
    client: driver.Redis = driver.Redis(server.host, server.port)
    with open_store(server.url) as crashed, open_store(server.url) as store:
        dead, alive = crashed.open_session(0.3), store.open_session(10)
        deadline = time.monotonic() + 10
        while client.hexists("{leadership}:sessions", dead.id):
            assert time.monotonic() < deadline
            alive.renew()
            time.sleep(0.05)
        assert client.hexists("{leadership}:sessions", alive.id)
        alive.close()
    client.close()
