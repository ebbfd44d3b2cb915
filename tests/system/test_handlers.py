"""Signal handlers that call public methods, at every line of the library in the main thread.

A trace function replaces the signal: Python runs a handler between two lines of the main
thread, and so is the trace function called. `make soak` interrupts each line once, `make test` a part of
them, which begins with another line each time.
"""

from __future__ import annotations

import os
import random
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
    Store,
    StoreClosed,
    Term,
    open_store,
)
from tests.support.backends import on_all
from tests.support.waiting import at_most
from tests.system.conftest import TargetStore

_LONGEST = 4.0  # seconds of one call of a handler; a deadlock is broken by nothing before the ttl
_TTL = 30.0
_SAMPLE = 30  # of some hundred lines
_FOLDERS = ("leadership_core", "leadership_consul", "leadership_etcd", "leadership_zookeeper")

Handler = Callable[[Store, Candidate], object]

_HANDLERS: dict[str, Handler] = {
    "stop": lambda _, candidate: candidate.stop(),
    "resign": lambda _, candidate: candidate.resign(),
    "close": lambda store, _: store.close(),
    "look": lambda _, candidate: (candidate.is_leader, candidate.term, candidate.events()),
}


Line = tuple[str, int]


class _Interrupted:
    """For the duration of the block, calls a handler at lines of the library.

    Args:
        handler: called between two lines.
        tried: the lines that have been interrupted; they are left out, and the new ones added.
        wanted: whether a line that has not been interrupted is to be.
        often: interrupt all of those lines, and not the first one only.
    """

    def __init__(
        self,
        handler: Callable[[], object],
        tried: set[Line],
        wanted: Callable[[Line], bool] = lambda _: True,
        *,
        often: bool = False,
    ) -> None:
        self._handler = handler
        self._tried = tried
        self._wanted = wanted
        self._often = often
        self.took: dict[Line, float] = {}

    def __enter__(self) -> Self:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if (self.took and not self._often) or not _is_ours(frame.f_code.co_filename):
            return None
        line = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and line not in self._tried and self._wanted(line):
            self._tried.add(line)
            if not self._often:
                sys.settrace(None)
            begun = time.monotonic()
            self._handler()
            self.took[line] = time.monotonic() - begun
        return self._trace


def _is_ours(file: str) -> bool:
    return any(folder in file for folder in _FOLDERS) or file == threading.__file__


def _use(store: Store, candidate: Candidate, key: str) -> None:
    """Calls that a program's main thread may be in."""
    term = candidate.wait_elected(5)
    if term is None:
        return
    entry = store.put(f"{key}-entry", b"1")
    store.get(f"{key}-entry")
    store.delete(f"{key}-entry", expect=entry)
    term.ensure(1)
    term.wait_lost(0.01)
    follower = Follower(store, key)
    follower.wait_leader(0.2)  # a candidate that the handler has stopped is not elected
    follower.stop()
    next(candidate.run_for_election())
    next(candidate.events())
    candidate.resign(0)


@on_all
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(_SAMPLE, id="sample"),
        pytest.param(0, id="every line", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
@pytest.mark.parametrize("handler", _HANDLERS)
def test_signal_handler_never_waits_for_interrupted_call(
    target: TargetStore, unique_key: str, handler: str, part: int
) -> None:
    """It returns soon, whatever it calls, and no lock is held afterwards."""

    def run(call: Handler, tried: set[Line], **options: Any) -> dict[Line, float]:
        store = open_store(target.url)
        candidate = Candidate(store, unique_key, "a", ttl=_TTL)
        with (
            suppress(LeadershipError),  # what is left to do after a handler that ends it all
            _Interrupted(lambda: call(store, candidate), tried, **options) as interrupted,
        ):
            _use(store, candidate, unique_key)
        store.close()
        return interrupted.took

    took = run(_HANDLERS["look"], set(), often=True)
    lines = list(took)
    assert len(lines) > 100
    if handler != "look":  # which ends nothing, so that one run was enough
        took = {}
        sample = set(
            lines[random.randrange(len(lines) // part) :: len(lines) // part] if part else ()
        )
        tried: set[Line] = set()
        while new := run(_HANDLERS[handler], tried, wanted=lambda line: not part or line in sample):
            took |= new
        assert len(took) > 10

    assert {line: seconds for line, seconds in took.items() if seconds > _LONGEST} == {}
    with open_store(target.url) as store:
        assert store.leader(unique_key) is None


@on_all
def test_signal_handler_closing_store_during_work_returns_at_once(
    target: TargetStore, unique_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The release follows when the work has returned; no message blames another process."""
    took: list[float] = []
    store = open_store(target.url)

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

    assert took[0] < at_most(0.5)
    assert "another process" not in caplog.text
    with open_store(target.url) as again:
        assert again.leader(unique_key) is None


@on_all
def test_signal_handler_closing_store_during_request_returns_at_once(
    target: TargetStore, unique_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The request ends as usual; then the store is closed, and the claim is gone."""
    took: list[float] = []
    store = open_store(target.url)
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

    assert took[0] < at_most(0.5)
    assert "another process" not in caplog.text
    with open_store(target.url) as again:
        assert again.leader(unique_key) is None
        again.delete(f"{unique_key}-entry")
