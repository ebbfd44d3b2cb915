"""A process that may start no thread for a while, and then may again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from leadership_core import Candidate, Follower, StoreHandle, StoreUnavailable, open_store
from tests.core.faulty import eventually
from tests.scenarios.places import Place
from tests.support.machine import at_most

_MOST_STARTS = 40  # of threads in one run of the program; more would mean that it never gets on
_FAILURES = 3  # in a row: the first tries again fail, too


class _Starts:
    """Counts the threads that are started, and refuses some of them."""

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
    """What a program does: it calls again when the library says that it cannot be done now."""
    until = time.monotonic() + within
    while True:
        try:
            return call()
        except StoreUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _use(store: StoreHandle, key: str, ttl: float) -> None:
    """Everything that needs a thread."""
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
def test_store_works_again_after_no_thread_could_be_started(
    kind: str, request: pytest.FixtureRequest, unique_key: str
) -> None:
    """Whichever start fails, the next calls succeed, and `close` confirms the release."""
    if kind == "memory":
        url, ttl = f"memory://{unique_key}", 3.0
    else:
        place: Place = request.getfixturevalue(f"on_{kind}")
        url, ttl = place.url, max(3.0, place.times.ttl)
    for first in range(1, _MOST_STARTS):
        starts = _Starts(first)
        with starts.counted(), open_store(url) as store:
            _use(store, f"{unique_key}/{first}", ttl)
            assert store.close(10)
        if not starts.refused:
            break
    else:
        pytest.fail(f"more than {_MOST_STARTS} threads are started")


def test_close_of_a_store_that_never_had_a_thread_raises_nothing(unique_key: str) -> None:
    """Neither does stopping its candidates, which is over at once."""
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
