"""Signal handlers that call public methods, at every line of the library in the main thread.

A trace function stands in for the signal: Python runs a handler between two lines of the main
thread, and so is the trace function called. Each line is interrupted once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Self

import pytest

from leadership_core import (
    Candidate,
    Follower,
    LeadershipError,
    StoreClosed,
    StoreHandle,
    Term,
    open_store,
)
from tests.scenarios.conftest import Place
from tests.scenarios.places import on_all

_LONGEST = 4.0  # seconds of one call of a handler; a deadlock is broken by nothing before the ttl
_TTL = 30.0
_FOLDERS = ("leadership_core", "leadership_consul", "leadership_etcd", "leadership_zookeeper")

Handler = Callable[[StoreHandle, Candidate], object]

_HANDLERS: dict[str, Handler] = {
    "stop": lambda _, candidate: candidate.stop(),
    "resign": lambda _, candidate: candidate.resign(),
    "close": lambda store, _: store.close(),
    "look": lambda _, candidate: (candidate.is_leader, candidate.term, candidate.events()),
}


class _EachLine:
    """While entered, calls a handler once at one line of the library that has not been tried."""

    def __init__(self, handler: Callable[[], object], tried: set[tuple[str, int]]) -> None:
        self._handler = handler
        self._tried = tried
        self.at: tuple[str, int] | None = None
        self.took = 0.0

    def __enter__(self) -> Self:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if self.at is not None or not _is_ours(frame.f_code.co_filename):
            return None
        place = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and place not in self._tried:
            self._tried.add(place)
            self.at = place
            sys.settrace(None)
            begun = time.monotonic()
            self._handler()
            self.took = time.monotonic() - begun
            return None
        return self._trace


def _is_ours(file: str) -> bool:
    return any(folder in file for folder in _FOLDERS) or file == threading.__file__


def _use(store: StoreHandle, candidate: Candidate, key: str) -> None:
    """What a program's main thread may be in."""
    term = candidate.wait_elected(5)
    if term is None:
        return
    entry = store.put(f"{key}-entry", b"1")
    store.get(f"{key}-entry")
    store.delete(f"{key}-entry", expect=entry)
    term.ensure(1)
    term.wait_lost(0.01)
    follower = Follower(store, key)
    follower.wait_leader(5)
    follower.stop()
    next(candidate.run_for_election())
    next(candidate.events())
    candidate.resign(0)


@on_all
@pytest.mark.parametrize("handler", _HANDLERS)
def test_handler_never_waits_for_what_it_has_interrupted(
    place: Place, unique_key: str, handler: str
) -> None:
    """It returns soon, whatever it calls, and afterwards nothing is held."""
    tried: set[tuple[str, int]] = set()
    until = time.monotonic() + 20
    late: list[tuple[str, int, float]] = []
    while time.monotonic() < until:
        store = open_store(place.url)
        candidate = Candidate(store, unique_key, "a", ttl=_TTL)
        call = _HANDLERS[handler]
        with (
            suppress(LeadershipError),  # what is left to do after a handler that ends it all
            _EachLine(lambda: call(store, candidate), tried) as line,  # noqa: B023 - called inside
        ):
            _use(store, candidate, unique_key)
        store.close()
        if line.at is None:
            break
        if line.took > _LONGEST:
            late.append((*line.at, line.took))

    assert not late
    assert len(tried) > 10
    with open_store(place.url) as store:
        assert store.leader(unique_key) is None


@on_all
def test_handler_that_closes_the_store_inside_the_work_returns_at_once(
    place: Place, unique_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The release follows when the work has returned; nothing is said of another process."""
    took: list[float] = []
    store = open_store(place.url)

    def handler(_number: int, _frame: object) -> None:
        begun = time.monotonic()
        assert not store.close()
        took.append(time.monotonic() - begun)

    def work(term: Term) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert term.lost

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        Candidate(store, unique_key, "a", ttl=_TTL).lead(work)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert took[0] < 0.5
    assert "another process" not in caplog.text
    with open_store(place.url) as again:
        assert again.leader(unique_key) is None


@on_all
def test_handler_that_closes_the_store_inside_a_request_returns_at_once(
    place: Place, unique_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The request ends as it would have; then the store is closed, and the claim is gone."""
    took: list[float] = []
    store = open_store(place.url)
    candidate = Candidate(store, unique_key, "a", ttl=_TTL)
    assert candidate.wait_elected(10)
    within = False

    def handler(_number: int, _frame: object) -> None:
        if within and not took:
            begun = time.monotonic()
            store.close()
            took.append(time.monotonic() - begun)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(10_000):
            within = True
            store.put(f"{unique_key}-entry", b"1")
            within = False
            if took:
                break
    except StoreClosed:
        pass  # the handler ran between two requests
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    store.close()

    assert took[0] < 0.5
    assert "another process" not in caplog.text
    with open_store(place.url) as again:
        assert again.leader(unique_key) is None
        again.delete(f"{unique_key}-entry")
