"""Fenced writes that are sent in one term and arrive in the next."""

from __future__ import annotations

import base64
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from leadership_core import Candidate, Fence, Fenced, LeadershipError, Store, Term, open_store
from tests.conftest import ProxyFactory
from tests.support.admin_tools import admin_of
from tests.support.backends import on_servers
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import wait_until
from tests.system.conftest import TargetStore

_TTL = 9.0
_LATE = b"from the term that is over"


class _Write:
    """A write in its own thread, with its outcome."""

    def __init__(self, store: Store, key: str, fence: Term | Fence | str | None) -> None:
        self.error: LeadershipError | None = None
        self.done = False
        self._store, self._key, self._fence = store, key, fence
        self._thread = threading.Thread(target=self._run, name="test-late-write")
        self._thread.start()

    def join(self) -> None:
        self._thread.join(15)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._store.put(self._key, _LATE, fence=self._fence)
            self.done = True
        except LeadershipError as error:
            self.error = error


@pytest.mark.parametrize("fenced", [True, False], ids=["fenced", "not fenced"])
@on_servers
def test_fenced_write_is_refused_after_delay_in_network(
    fenced: bool,
    kind: str,
    shared: Consul | Etcd | ZooKeeper,
    proxy: ProxyFactory,
    unique_key: str,
) -> None:
    """The server refuses it; a write without a fence shows that it does arrive."""
    link, data = proxy(shared.port), f"{unique_key}-data"
    mark = base64.b64encode(_LATE) if kind == "consul" else _LATE
    with open_store(shared.url_at(link.port)) as far, open_store(shared.url) as near:
        old = Candidate(far, unique_key, "old", ttl=_TTL)
        term = old.wait_elected(10)
        assert term is not None
        far.put(data, b"first", fence=term)
        new = Candidate(near, unique_key, "new", ttl=_TTL)
        new.run_for_election()
        time.sleep(0.3)

        held = link.hold(mark)
        write = _Write(far, data, term if fenced else None)
        assert held.caught.wait(5)
        admin_of(shared).delete(unique_key)
        following = new.wait_elected(5)
        assert following is not None
        assert following.token > term.token
        near.put(data, b"second", fence=following)
        held.release()
        write.join()

        assert far.get(data) is not None  # whatever it was behind has passed
        entry = near.get(data)
        assert entry is not None
        if fenced:
            assert isinstance(write.error, Fenced), write.error
            assert entry.value == b"second"
        else:
            assert write.done, write.error
            assert entry.value == _LATE


@on_servers
def test_fenced_write_is_refused_after_session_ended(
    target: TargetStore, shared: Consul | Etcd | ZooKeeper, proxy: ProxyFactory, unique_key: str
) -> None:
    """Its writer was cut off until another was elected, and what it sent is never applied."""
    link, data = proxy(shared.port), f"{unique_key}-data"
    with open_store(shared.url_at(link.port)) as far, open_store(shared.url) as near:
        old = Candidate(far, unique_key, "old", ttl=target.ttl)
        term = old.wait_elected(10)
        assert term is not None
        far.put(data, b"first", fence=term)
        new = Candidate(near, unique_key, "new", ttl=target.ttl)
        new.run_for_election()
        time.sleep(0.3)

        link.cut("up")
        write = _Write(far, data, term)
        following = new.wait_elected(target.times.failover() + 2)
        assert following is not None
        near.put(data, b"second", fence=following)
        link.heal()
        write.join()
        wait_until(lambda: far.get(data) is not None, 5, "it is back")
        time.sleep(0.3)

        entry = near.get(data)
        assert entry is not None
        assert entry.value == b"second"
        assert not write.done
        with pytest.raises(Fenced):
            far.put(data, _LATE, fence=term.fence)


def test_fenced_write_is_refused_after_wait_for_sqlite_lock(
    on_sqlite: TargetStore, unique_key: str
) -> None:
    """The claim is deleted while the write waits for its transaction."""
    data = f"{unique_key}-data"
    file = on_sqlite.url.removeprefix("sqlite:///")
    with open_store(on_sqlite.url) as far, open_store(on_sqlite.url) as near:
        old = Candidate(far, unique_key, "old", ttl=_TTL)
        term = old.wait_elected(10)
        assert term is not None
        far.put(data, b"first", fence=term)
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            write = _Write(far, data, term.fence)
            time.sleep(0.3)
            gone = database.execute("DELETE FROM entries WHERE key = ?", (unique_key,)).rowcount
            database.execute("COMMIT")
        assert gone == 1
        write.join()

        assert isinstance(write.error, Fenced), write.error
        entry = near.get(data)
        assert entry is not None
        assert entry.value == b"first"


@pytest.mark.parametrize("kind", ["memory", "sqlite", "consul", "etcd", "zookeeper"])
def test_write_with_old_fence_is_refused(
    kind: str, request: pytest.FixtureRequest, unique_key: str
) -> None:
    """A fence passed to another process is valid until its term ends, however that ends."""
    data = f"{unique_key}-data"
    url = f"memory://{unique_key.replace('/', '-')}"
    if kind != "memory":
        url = request.getfixturevalue(f"on_{kind}").url
    with open_store(url) as store, open_store(url) as helper:
        candidate = Candidate(store, unique_key, "ann", ttl=3.0)
        fences: list[str] = []
        for number in range(3):
            term = candidate.wait_elected(10)
            assert term is not None
            helper.put(data, str(number).encode(), fence=term.fence)
            for fence in fences:
                with pytest.raises(Fenced):
                    helper.put(data, _LATE, fence=fence)
            fences.append(str(term.fence))
            assert candidate.resign(0.1)
            with pytest.raises(Fenced):
                helper.put(data, _LATE, fence=term.fence)
        entry = helper.get(data)
        assert entry is not None
        assert entry.value == b"2"
