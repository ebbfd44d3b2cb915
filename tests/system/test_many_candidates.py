"""A hundred elections in one process: one session, few threads, few long polls."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from leadership_core import Candidate, Store, open_store
from tests.conftest import ConsulFactory
from tests.support.admin_tools import admin_of
from tests.support.servers.connection_owners import connections_to
from tests.support.waiting import wait_until
from tests.system.conftest import OwnServer

pytestmark = pytest.mark.slow

_MOST_THREADS = 16
_MOST_POLLS = 8

_LAYOUTS = {
    "one folder": [f"service/tasks/{n}" for n in range(100)],
    "the root": [f"k{n}" for n in range(100)],
    "folders of one folder": [f"jobs/{n}/leader" for n in range(100)],
    "folders with nothing in common": [f"{chr(97 + n)}{n}/leader" for n in range(12)],
}


@pytest.mark.parametrize("layout", _LAYOUTS.values(), ids=_LAYOUTS)
def test_many_candidates_on_consul(layout: list[str], consul_server: ConsulFactory) -> None:
    """All lead on one session, and a takeover by an operator is noticed on each key."""
    agent = consul_server(dev=True)
    with open_store(agent.url) as store, _all_leading(store, layout) as candidates:
        time.sleep(0.5)  # so that watches that were merged into one have ended
        (session,) = agent.request("GET", "/v1/session/list").body
        assert _threads() <= _MOST_THREADS
        assert sum("watch" in name for name in _names()) <= _MOST_POLLS
        # Each watch, each worker, and the session's thread have one at most.
        assert connections_to(agent.port) <= _MOST_THREADS

        entries = agent.request("GET", "/v1/kv/?recurse").body
        assert {entry["Session"] for entry in entries} == {session["ID"]}
        for candidate in candidates[:: len(candidates) // 4]:
            assert candidate.term is not None
            before = candidate.term.token
            agent.request("DELETE", f"/v1/kv/{candidate.key}")
            wait_until(_newer(candidate, before), 10, f"{candidate.key} has a new term")


def test_many_waiting_candidates_take_over_on_consul(consul_server: ConsulFactory) -> None:
    """Waiting costs no more than leading, and all keys have new leaders when the leaders leave."""
    agent = consul_server(dev=True)
    keys = _LAYOUTS["folders of one folder"]
    with (
        open_store(agent.url) as second,
        open_store(agent.url) as first,
        _all_leading(first, keys),
    ):
        base = _threads()
        waiting = [Candidate(second, key, "second", ttl=10.0) for key in keys]
        for candidate in waiting:
            candidate.run_for_election()
        time.sleep(1.0)
        assert not any(candidate.is_leader for candidate in waiting)
        assert _threads() - base <= _MOST_THREADS
        assert len(agent.request("GET", "/v1/session/list").body) == 2
        first.close()
        wait_until(lambda: all(c.is_leader for c in waiting), 10, "all are taken over")


@pytest.mark.parametrize("kind", ["etcd", "zookeeper"])
@pytest.mark.parametrize("layout", ["one folder", "folders of one folder"])
def test_many_candidates(kind: str, layout: str, own_server: OwnServer) -> None:
    """All lead on one session; after an operator deletes a claim its candidate leads a new term."""
    server = own_server()
    admin = admin_of(server)
    keys = _LAYOUTS[layout]
    before = _outside()
    with open_store(server.url) as store, _all_leading(store, keys) as candidates:
        time.sleep(0.5)
        assert _threads() <= _MOST_THREADS
        # The client library has its own: those are not many either, nor do they grow.
        assert _outside() - before <= 8
        assert connections_to(server.port) <= _MOST_THREADS
        assert len({admin.holder(key) for key in keys}) == 1
        for candidate in candidates[::25]:
            assert candidate.term is not None
            token = candidate.term.token
            admin.delete(candidate.key)
            wait_until(_newer(candidate, token), 5, f"{candidate.key} has a new term")


@pytest.mark.parametrize("kind", ["etcd", "zookeeper"])
def test_many_waiting_candidates_take_over(kind: str, own_server: OwnServer) -> None:
    """Waiting costs no more than leading, and all keys have new leaders when the leaders leave."""
    server = own_server()
    keys = _LAYOUTS["folders of one folder"]
    with (
        open_store(server.url) as second,
        open_store(server.url) as first,
        _all_leading(first, keys),
    ):
        base = _threads()
        waiting = [Candidate(second, key, "second", ttl=10.0) for key in keys]
        for candidate in waiting:
            candidate.run_for_election()
        time.sleep(1.0)
        assert not any(candidate.is_leader for candidate in waiting)
        assert _threads() - base <= _MOST_THREADS
        first.close()
        wait_until(lambda: all(c.is_leader for c in waiting), 10, "all are taken over")


def test_many_candidates_on_sqlite(tmp_path: Path) -> None:
    """All lead on one session, and go on leading."""
    file = tmp_path / "many.db"
    keys = _LAYOUTS["one folder"]
    with open_store(f"sqlite:///{file}") as store, _all_leading(store, keys) as candidates:
        time.sleep(1.0)
        assert _threads() <= _MOST_THREADS
        with closing(sqlite3.connect(file)) as database:
            (sessions,) = database.execute("SELECT count(*) FROM sessions").fetchone()
            owners = database.execute("SELECT DISTINCT session FROM entries").fetchall()
        assert sessions == 1
        assert len(owners) == 1
        assert all(candidate.is_leader for candidate in candidates)
        before = candidates[50].term
        assert before is not None
        store.delete(candidates[50].key)
        wait_until(_newer(candidates[50], before.token), 5, "a new term")


@contextmanager
def _all_leading(store: Store, keys: list[str]) -> Iterator[list[Candidate]]:
    candidates = [Candidate(store, key, f"value of {key}", ttl=10.0) for key in keys]
    for candidate in candidates:
        candidate.run_for_election()
    wait_until(lambda: all(candidate.is_leader for candidate in candidates), 15, "all lead")
    yield candidates


def _newer(candidate: Candidate, token: int) -> Callable[[], bool]:
    return lambda: (term := candidate.term) is not None and term.token > token


def _names() -> list[str]:
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name.startswith("leadership")]


def _threads() -> int:
    return len(_names())


def _outside() -> int:
    """The threads without a name of the library's."""
    return threading.active_count() - _threads()
