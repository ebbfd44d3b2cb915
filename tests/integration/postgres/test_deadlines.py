"""Calls end in time, whatever the server does, and say what has become of the request."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import psycopg
import pytest

from leadership_core import Store, StoreUnavailable, open_store
from leadership_core.backend import NotApplied, StoreRefused, call_timeout
from leadership_core.backend.url import StoreURL
from leadership_postgres import connection
from leadership_postgres.store import PostgresStore
from tests.conftest import PostgresFactory, ProxyFactory
from tests.support.servers.postgres import PASSWORD, PostgresServer
from tests.support.waiting import wait_until


def seconds_of(call: Callable[[], object], error: type[Exception]) -> float:
    """How long a call takes until it fails."""
    began = time.monotonic()
    with pytest.raises(error):
        call()
    return time.monotonic() - began


def test_call_on_a_frozen_server_ends_in_time(postgres: PostgresServer) -> None:
    """On a connection that exists, and on one that has to be made; `close` does not wait either."""
    store = PostgresStore(StoreURL.parse(postgres.url))
    store.put("k", b"1")
    postgres.pause()
    try:
        with call_timeout(1.0):
            assert seconds_of(lambda: store.put("k", b"2"), StoreUnavailable) < 3
        with call_timeout(1.0):
            assert seconds_of(lambda: store.get("k"), NotApplied) < 3
        began = time.monotonic()
        store.close()
        assert time.monotonic() - began < 3
    finally:
        postgres.resume()


def test_call_behind_a_lock_ends_in_time_and_was_not_applied(
    shared_postgres: PostgresServer,
) -> None:
    """The server gives up the wait for the row by itself, before the caller does."""
    store = PostgresStore(StoreURL.parse(shared_postgres.url))
    entry = store.put("locked", b"1")
    session = store.open_session(5)
    with psycopg.connect(shared_postgres.url) as other:
        other.execute("SELECT 1 FROM leadership.entry WHERE key = 'locked' FOR SHARE")
        with call_timeout(1.0):
            assert seconds_of(lambda: store.put("locked", b"2"), NotApplied) < 3
        session.renew()
    assert store.get("locked") == entry
    store.close()


def test_connections_that_the_server_has_closed_are_replaced(
    shared_postgres: PostgresServer,
) -> None:
    """Idle ones: no request fails, because none was under way."""
    with open_store(shared_postgres.url) as store:
        store.put("k", b"1")
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leadership'"
        assert shared_postgres.ask(ended)
        time.sleep(0.2)
        assert store.get("k") is not None


def test_watch_goes_on_over_a_restart(postgres: PostgresServer) -> None:
    """The change that was made while it was away is reported."""
    seen: list[object] = []
    with open_store(postgres.url) as store, open_store(postgres.url) as other:
        other.put("k", b"1")
        store.watch("k", seen.append)
        wait_until(lambda: seen, 5, "the present state")
        postgres.restart()
        wait_until(lambda: _put(other, b"2"), 10, "it writes again")
        wait_until(lambda: getattr(seen[-1], "value", None) == b"2", 10, "the change is reported")


def _put(store: Store, value: bytes) -> bool:
    try:
        return store.put("k", value) is not None
    except StoreUnavailable:
        return False


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda url: url.replace("tester:", "tester:x"), StoreRefused, "check USER:PASSWORD@"),
        (lambda url: url.replace("tester", "absent"), StoreRefused, "check USER:PASSWORD@"),
        (lambda url: f"{url}2", StoreRefused, "create the database, or name another one"),
        (lambda url: url.replace("127.0.0.1", "no-such-host.invalid"), StoreRefused, "unknown host"),
        (lambda url: f"{url}?sslmode=require", StoreRefused, "leave out [+]tls or sslmode, or turn on ssl"),
    ],
)  # fmt: skip
def test_wrong_url_is_refused_with_the_cure(
    change: Callable[[str], str], error: type[Exception], text: str, shared_postgres: PostgresServer
) -> None:
    """The message has no password."""
    with (
        open_store(change(shared_postgres.url)) as store,
        pytest.raises(error, match=text) as caught,
    ):
        store.get("k")

    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(store)


def test_refused_connection_has_the_code_of_the_server(shared_postgres: PostgresServer) -> None:
    """By which it is known whatever the language of the server is; what follows is in the usual form."""
    with (
        open_store(shared_postgres.url.replace("tester:", "tester:x")) as store,
        pytest.raises(StoreRefused, match=r'user "tester" \(28P01\); check') as caught,
    ):
        store.get("k")

    assert "LOCATION" not in str(caught.value)


def test_server_that_is_too_old_is_refused(
    shared_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said with the version that is needed, and tried once."""
    monkeypatch.setattr(connection, "_OLDEST_VERSION", 99)
    with (
        open_store(shared_postgres.url) as store,
        pytest.raises(StoreRefused, match="PostgreSQL 99 or later is needed"),
    ):
        store.get("key")


def test_no_server_is_not_applied(proxy: ProxyFactory, shared_postgres: PostgresServer) -> None:
    """It may come: the call says what should run there."""
    from tests.support.servers.ports import free_port

    with (
        open_store(shared_postgres.url_at(free_port())) as store,
        pytest.raises(NotApplied, match="is PostgreSQL running there"),
    ):
        store.put("k", b"1")


def test_too_many_connections_is_not_applied(postgres_server: PostgresFactory) -> None:
    """It is tried again; the message names the setting."""
    server = postgres_server(
        settings={"max_connections": "6", "superuser_reserved_connections": "3"}
    )
    links = [psycopg.connect(server.url) for _ in range(3)]
    try:
        with (
            open_store(server.url) as store,
            pytest.raises(NotApplied, match="max_connections"),
        ):
            store.get("k")
    finally:
        for link in links:
            link.close()


def test_forked_child_leaves_the_connections_alone(shared_postgres: PostgresServer) -> None:
    """The child ends with all objects that it has inherited, and the parent's connection goes on."""
    with open_store(shared_postgres.url) as store:
        store.put("k", b"1")
        of_ours = (
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'leadership' ORDER BY 1"
        )
        before = shared_postgres.ask(of_ours)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                store.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.get("k") is not None
        assert shared_postgres.ask(of_ours) == before
