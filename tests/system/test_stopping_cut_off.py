"""Stopping and closing while the link to the server is cut, one way or both."""

from __future__ import annotations

import threading
import time

import pytest

from leadership_core import Candidate, Follower, StoreClosed, open_store
from tests.conftest import ProxyFactory
from tests.support.backends import on_servers
from tests.support.servers.connection_owners import connections_to
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.proxy import Way
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import at_most, wait_until
from tests.system.conftest import TargetStore

_CUTS: dict[str, tuple[Way, ...]] = {
    "replies lost": ("down",),
    "requests lost": ("up",),
    "black-holed": (),
}


@pytest.mark.parametrize(
    ("cut", "leads"),
    [
        *((cut, True) for cut in _CUTS),
        ("black-holed", False),
        pytest.param("replies lost", False, marks=pytest.mark.soak),
        pytest.param("requests lost", False, marks=pytest.mark.soak),
    ],
)
@on_servers
def test_stop_and_close_return_without_responses(
    cut: str,
    leads: bool,
    target: TargetStore,
    shared: Consul | Etcd | ZooKeeper,
    proxy: ProxyFactory,
    unique_key: str,
) -> None:
    """They return within their timeout, all iterators end in order, and nothing is left."""
    link = proxy(shared.port)
    threads = threading.active_count()
    with open_store(shared.url) as near, open_store(shared.url_at(link.port)) as store:
        if not leads:
            assert Candidate(near, unique_key, "near", ttl=target.ttl).wait_elected(10)
        first, second = (
            Candidate(store, f"{unique_key}{suffix}", "far", ttl=target.ttl)
            for suffix in ("", "/2")
        )
        readers = [_Reader(first), _Reader(second), _Reader(Follower(store, unique_key))]
        if leads:
            assert first.wait_elected(10)
        assert second.wait_elected(10)
        wait_until(lambda: any(readers[2].verdicts), 5, "the follower knows")
        time.sleep(0.3)
        link.cut(*_CUTS[cut])
        time.sleep(0.2)

        at = time.monotonic()
        first.stop(timeout=0.5)
        assert time.monotonic() - at < at_most(0.8)
        assert not first.is_leader

        at = time.monotonic()
        store.close(timeout=0.5)
        assert time.monotonic() - at < at_most(1.6)  # it also waits, for a moment, for its threads
        assert not second.is_leader
        for reader in readers:
            reader.join()
        with pytest.raises(StoreClosed):
            first.run_for_election()
        wait_until(lambda: not connections_to(link.port), 2, "no connection is left")
    wait_until(lambda: threading.active_count() <= threads, 2, "no thread is left")

    assert readers[0].verdicts == ([False, True, False] if leads else [False])
    assert readers[1].verdicts == [False, True, False]
    for reader in readers:
        assert reader.events[-1] == "stopped"
        assert reader.events.count("stopped") == 1
    # If `stop` took its time, the lease has ended before `close`.
    ends = [name for name in readers[1].events if name in {"elected", "lost", "resigned"}]
    assert ends in (["elected", "lost"], ["elected", "resigned"])


class _Reader:
    """Reads both iterators of a candidate or a follower to their ends."""

    def __init__(self, member: Candidate | Follower) -> None:
        self.verdicts: list[object] = []
        self.events: list[str] = []
        verdicts = (
            member.run_for_election() if isinstance(member, Candidate) else member.follow_election()
        )
        events = member.events()
        self._threads = [
            threading.Thread(target=lambda: self.verdicts.extend(verdicts)),
            threading.Thread(target=lambda: self.events.extend(e.name for e in events)),
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(at_most(1.0))
            assert not thread.is_alive()
