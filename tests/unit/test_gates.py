"""Gates of a candidate: `ready=`."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    NotElected,
    Resigned,
    Store,
)
from leadership_core.engine.messages import Phase
from leadership_core.engine.serial_thread import SerialThread
from tests.support.internals import candidate_control
from tests.support.waiting import at_most, ends_of, eventually
from tests.unit.conftest import Open


class Program:
    """A program whose readiness the test changes."""

    def __init__(self, *, ready: bool) -> None:
        self.ready = ready
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.ready


def test_candidate_that_is_not_ready_does_not_stand(open_one: Open) -> None:
    """It makes no claim, and is elected soon after it is ready."""
    program = Program(ready=False)
    candidate = Candidate(open_one(), "key", "a", ttl=1.5, ready=program)
    with pytest.raises(
        NotElected, match=r"'a' was not elected for key .*: the program is not ready"
    ):
        candidate.wait_elected(0)
    with pytest.raises(NotElected, match=r"'a' does not lead key .*: the program is not ready"):
        candidate.working().__enter__()
    assert open_one().leader("key") is None
    assert eventually(lambda: program.asked >= 3)
    with Candidate(open_one(), "key", "b", ttl=3) as other:
        assert other.wait_elected(5)
    program.ready = True
    assert candidate.wait_elected(10)
    assert candidate.stop()


def test_leader_that_is_not_ready_resigns_and_another_is_elected(open_one: Open) -> None:
    """It stands again when it is ready, behind the other one."""
    program = Program(ready=True)
    candidate = Candidate(open_one(), "key", "a", ttl=1.5, ready=program)
    ends = ends_of(candidate)
    assert candidate.wait_elected(10)
    other = Candidate(open_one(), "key", "b", ttl=3)
    other.start()
    program.ready = False
    assert other.wait_elected(20)
    assert ends == [Resigned()]
    assert not candidate.is_leader
    program.ready = True
    assert eventually(lambda: candidate_control(candidate).debug_state().phase is Phase.WAITING)
    assert other.is_leader
    other.stop()
    assert candidate.wait_elected(10)


def test_waiting_candidate_that_is_not_ready_leaves_the_queue(open_one: Open) -> None:
    """The release of the leader elects the next one that is ready."""
    leader = Candidate(open_one(), "key", "a", ttl=3)
    assert leader.wait_elected(5)
    program = Program(ready=True)
    second = Candidate(open_one(), "key", "b", ttl=1.5, ready=program)
    assert second.wait_elected(0.5) is None
    program.ready = False
    control = candidate_control(second)
    assert eventually(lambda: control._driver.held_back, 10)
    leader.stop()
    with pytest.raises(NotElected, match="not ready"):
        second.wait_elected(0.3)
    assert leader.is_leader is False
    assert open_one().leader("key") is None


@pytest.mark.parametrize("how", ["raises", "hangs", "exits", "coroutine"])
def test_ready_that_gives_no_answer_is_a_no(
    open_one: Open, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, and the next answer counts again; nothing else of the store waits for it."""
    broken = threading.Event()
    release = threading.Event()
    calls: list[int] = []

    def ready() -> Any:
        calls.append(1)
        if not broken.is_set():
            return True
        if how == "raises":
            raise KeyError(len(calls))
        if how == "exits":
            raise SystemExit(len(calls))
        if how == "coroutine":
            return asyncio.sleep(0)
        return release.wait(60)

    store = open_one()
    candidate = Candidate(store, "key", "a", ttl=1.5, ready=ready)
    other = Candidate(store, "other", "b", ttl=1.5)
    ends = ends_of(candidate)
    caplog.set_level(logging.INFO, "leadership.candidate")
    try:
        assert candidate.wait_elected(10)
        term = other.wait_elected(10)
        broken.set()
        assert eventually(lambda: ends == [Resigned()], 10)
        before = len(calls)
        assert how == "hangs" or eventually(lambda: len(calls) > before + 2, 10)
        assert term is not None
        assert not term.lost
    finally:
        broken.clear()
        release.set()
    assert candidate.wait_elected(10)
    records = [one for one in caplog.records if one.leadership_event in {"ready", "not_ready"}]  # type: ignore[attr-defined]  # as the event log sets it
    assert [one.leadership_event for one in records] == ["not_ready", "ready"]  # type: ignore[attr-defined]  # as the event log sets it
    assert records[0].levelno == logging.WARNING


def test_readiness_is_asked_in_its_own_thread_at_a_bounded_rate(store: Store) -> None:
    """The thread ends when the candidate has stopped."""
    threads: set[threading.Thread] = set()
    times: list[float] = []

    def ready() -> bool:
        threads.add(threading.current_thread())
        times.append(time.monotonic())
        return False

    candidate = Candidate(store, "key", "a", ttl=3, ready=ready)
    candidate.start()
    assert eventually(lambda: len(times) >= 3, 10)
    candidate.stop()
    (thread,) = threads
    assert thread.daemon
    assert thread.name == "leadership-ready"
    assert eventually(lambda: not thread.is_alive())
    asked = len(times)
    assert times[2] - times[0] > 0.5  # two seconds, unless this machine is busy
    assert len(times) == asked


def test_readiness_is_asked_again_at_the_next_campaign(store: Store) -> None:
    """`leading` leaves and enters; the thread ends in between."""
    program = Program(ready=True)
    candidate = Candidate(store, "key", "a", ttl=3, ready=program)
    for number in (1, 2, 3):
        with candidate.leading(timeout=10):
            assert program.asked == number
        assert eventually(
            lambda: not [one for one in threading.enumerate() if one.name == "leadership-ready"]
        )


@pytest.mark.parametrize("before", [0, 2])
def test_question_that_could_not_be_asked_is_asked_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """Without memory for the first one, or for one while it leads, it still comes to lead."""
    failed = threading.Event()
    questions = itertools.count()
    submit = SerialThread.submit

    def fail_once(thread: SerialThread, job: Callable[[], None]) -> None:
        if next(questions) == before:
            failed.set()
            raise MemoryError
        submit(thread, job)

    monkeypatch.setattr(SerialThread, "submit", fail_once)
    program = Program(ready=True)
    candidate = Candidate(store, "key", "a", ttl=1.5, ready=program)
    candidate.start()
    assert failed.wait(at_most(5))
    asked = program.asked

    assert eventually(lambda: candidate.is_leader and program.asked > asked + 1, 10)


def test_stop_and_close_do_not_wait_for_a_hanging_ready(open_one: Open) -> None:
    """A leader is released at once."""
    release, hangs = threading.Event(), threading.Event()
    store = open_one()
    candidate = Candidate(
        store, "key", "a", ttl=60, ready=lambda: not hangs.is_set() or release.wait(60)
    )
    try:
        assert candidate.wait_elected(10)
        hangs.set()
        assert candidate.stop(10)
        waiting = Candidate(store, "key", "b", ttl=60, ready=lambda: release.wait(60))
        waiting.start()
        assert store.close(10)
    finally:
        release.set()


async def _coroutine() -> bool:
    return True


@pytest.mark.parametrize("wrong", [_coroutine, "yes", True, lambda term: True])
def test_ready_that_cannot_be_called_is_refused(store: Store, wrong: Any) -> None:
    """The constructor raises."""
    with pytest.raises(ConfigurationError, match="ready"):
        Candidate(store, "key", "a", ready=wrong)
