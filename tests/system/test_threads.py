"""A process that cannot start threads for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from leadership_core import Candidate, Follower, Store, StoreUnavailable, open_store
from tests.support.backends import TargetStore
from tests.support.waiting import at_most, eventually

_MOST_STARTS = 40  # of threads in one run of the program; more would mean that it never gets on
_FAILURES = 3  # in a row: the first tries again fail, too


class _Starts:
    """Counts the starts of threads, and refuses some of them."""

    def __init__(self, first: int) -> None:
        self.count = 0
        self.refused = 0
        self._refused = range(first, first + _FAILURES)
        self._lock = threading.Lock()

    @contextmanager
    def counted(self) -> Iterator[None]:
        start = threading.Thread.start

        def counting(thread: threading.Thread) -> None:
            with self._lock:
                self.count += 1
                refused = self.count in self._refused
                self.refused += refused
            if refused:
                raise RuntimeError("can't start new thread")
            start(thread)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Thread, "start", counting)
            yield


def _tried_again(call: Callable[[], Any], within: float) -> Any:
    """Call until it succeeds, as a program does that gets a temporary error."""
    until = time.monotonic() + within
    while True:
        try:
            return call()
        except StoreUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _use(store: Store, key: str, ttl: float) -> None:
    """Make every call that needs a thread."""
    seen: list[object] = []
    watch = _tried_again(lambda: store.watch(f"{key}/data", seen.append), 10)
    candidate = Candidate(store, key, "me", ttl=ttl)
    follower = Follower(store, key)
    assert _tried_again(lambda: candidate.wait_elected(15), 15) is not None
    assert str(_tried_again(lambda: follower.wait_leader(15), 15)) == "me"
    _tried_again(lambda: store.put(f"{key}/data", b"news"), 10)
    assert eventually(lambda: any(getattr(one, "value", None) == b"news" for one in seen), 15)
    lock = store.lock(f"{key}/lock", ttl=ttl)
    assert _tried_again(lambda: lock.acquire(15), 15) is not None
    assert lock.release()
    watch.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite", "consul", "etcd", "zookeeper"])
def test_store_recovers_after_failed_start_of_thread(
    kind: str, request: pytest.FixtureRequest, unique_key: str
) -> None:
    """Any start may fail: later calls succeed, and `close` confirms the release."""
    if kind == "memory":
        url, ttl = f"memory://{unique_key}", 3.0
    else:
        target: TargetStore = request.getfixturevalue(f"on_{kind}")
        url, ttl = target.url, max(3.0, target.times.ttl)
    for first in range(1, _MOST_STARTS):
        starts = _Starts(first)
        with starts.counted(), open_store(url) as store:
            _use(store, f"{unique_key}/{first}", ttl)
            assert store.close(10)
        if not starts.refused:
            break
    else:
        pytest.fail(f"more than {_MOST_STARTS} threads are started")


def test_close_without_threads_raises_nothing(unique_key: str) -> None:
    """Nor does stopping its candidates, which returns at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuse)
        store = open_store(f"memory://{unique_key}")
        candidate, follower = Candidate(store, "a", "me", ttl=3), Follower(store, "a")
        for call in (candidate.run_for_election, follower.follow_election, candidate.wait_elected):
            with pytest.raises(StoreUnavailable, match="thread"):
                call()
        begun = time.monotonic()
        assert candidate.stop()
        assert list(candidate.run_for_election()) == [False]
        follower.stop()
        assert store.close()
        assert time.monotonic() - begun < at_most(1)


def _refuse(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
