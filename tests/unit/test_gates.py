"""Gates of a candidate: `ready=`, `watchdog=`, and the signs of life of work."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    LeadershipLost,
    Lost,
    LostReason,
    NotElected,
    Resigned,
    Store,
    Term,
    open_store,
)
from leadership_core.backend import clock
from leadership_core.backend.time_source import TimeSource
from leadership_core.engine import messages
from leadership_core.engine.messages import Phase
from leadership_core.engine.serial_thread import SerialThread
from leadership_core.engine.watchdog import Watchdog
from leadership_core.term import TermState
from tests.support.internals import candidate_control, term_state
from tests.support.waiting import at_most, eventually
from tests.unit.conftest import Open


class Program:
    """A program whose readiness the test changes."""

    def __init__(self, *, ready: bool) -> None:
        self.ready = ready
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.ready


def ends_of(candidate: Candidate) -> list[Lost | Resigned]:
    """A list that gets what ends the terms of a candidate."""
    ends: list[Lost | Resigned] = []
    candidate.add_listener(
        lambda event: ends.append(event) if isinstance(event, Lost | Resigned) else None
    )
    return ends


# -- readiness ---------------------------------------------------------------------------------------


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


# -- watchdog ----------------------------------------------------------------------------------------


def test_leader_without_a_sign_of_life_loses_its_term(open_one: Open) -> None:
    """The claim is withdrawn at once where no work holds it back, so another one is elected."""
    candidate = Candidate(open_one(), "key", "a", ttl=20, watchdog=0.5)
    ends = ends_of(candidate)
    term = candidate.wait_elected(10)
    assert term is not None
    other = Candidate(open_one(), "key", "b", ttl=20)
    assert other.wait_elected(15)
    assert set(ends) == {Lost(LostReason.WATCHDOG)}
    with pytest.raises(Exception, match="is over: watchdog"):
        term.check()
    term.heartbeat()
    other.stop()
    again = candidate.wait_elected(15)
    assert again is not None
    assert again.token > term.token


def test_signs_of_life_keep_the_term() -> None:
    """They count from the last one, not from the beginning of the term."""
    signs: list[Callable[[Term], object]] = [Term.check, Term.heartbeat, lambda one: one.ensure(0)]
    with open_store("memory://") as store:
        terms = [
            Candidate(store, f"key-{number}", "a", ttl=20, watchdog=2).wait_elected(10)
            for number in range(len(signs))
        ]
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for sign, term in zip(signs, terms, strict=True):
                assert term is not None
                with suppress(LeadershipLost):
                    sign(term)
            time.sleep(0.05)
        assert [term is None or term.lost for term in terms] == [False] * 3


def test_work_that_hangs_keeps_its_claim_to_the_end_of_the_lease_at_most(open_one: Open) -> None:
    """Then another one is elected; the candidate campaigns again when its work has ended."""
    candidate = Candidate(open_one(), "key", "a", ttl=1.5, watchdog=0.3)
    release, begun = threading.Event(), threading.Event()
    terms: list[Term] = []

    def work(term: Term) -> None:
        terms.append(term)
        begun.set()
        if len(terms) == 1:
            release.wait(60)
        else:
            candidate.stop()

    leading = threading.Thread(target=candidate.lead, args=(work,), daemon=True)
    leading.start()
    try:
        assert begun.wait(10)
        other = Candidate(open_one(), "key", "b", ttl=3)
        assert other.wait_elected(20)
        assert terms[0].lost
        assert term_state(terms[0]).reason is LostReason.WATCHDOG
        other.stop()
        assert len(terms) == 1
    finally:
        release.set()
    leading.join(20)
    assert len(terms) == 2


def test_heartbeat_is_safe_in_a_signal_handler() -> None:
    """A program may give its signs of life by a timer of the operating system."""
    store = open_store("memory://")
    candidate = Candidate(store, "key", "a", ttl=20, watchdog=2)
    term = candidate.wait_elected(10)
    assert term is not None
    before = signal.signal(signal.SIGALRM, lambda *_: term.heartbeat())
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            time.sleep(0.01)
        assert not term.lost
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        store.close()


class _Fence:
    token = 7


def test_pause_of_the_process_gives_the_work_its_time_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once for each sign of life; a timer that is in time gives nothing."""
    now = [100.0]
    monkeypatch.setattr(clock, "now", lambda: now[0])
    timers: list[tuple[float, Callable[[], None]]] = []
    expired: list[messages.WatchdogExpired] = []

    class Timers:
        time_source = TimeSource()

        def call_at(self, when: float, task: Callable[[], None]) -> Any:
            timers.append((when, task))

    def fire(late: float) -> None:
        assert timers, "no timer is set"
        when, task = timers.pop()
        now[0] = when + late
        task()

    scheduler: Any = Timers()
    lease: Any = None
    fence: Any = _Fence()
    term = TermState(fence, lease, lease, TimeSource())
    watchdog = Watchdog(10, scheduler, report=expired.append)
    watchdog.begin(term)
    assert timers[0][0] == 110
    term.alive_at = 104.0
    fire(late=0)
    assert [when for when, _ in timers] == [114]
    fire(late=30)
    assert (timers[0][0], expired) == (154, [])
    fire(late=30)
    assert expired == [messages.WatchdogExpired(7)]

    watchdog.begin(term)
    watchdog.end()
    fire(late=0)
    assert expired == [messages.WatchdogExpired(7)]


_PAUSED = """
import os, signal, sys, time
from leadership_core import Candidate, open_store
candidate = Candidate(open_store("memory://x"), "key", "a", ttl=60, watchdog=2)
term = candidate.wait_elected(10)
print("leads", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
term.heartbeat()
time.sleep(0.5)
print("lost" if term.lost else "leads", flush=True)
os._exit(0)
"""


def test_working_program_survives_a_pause_within_its_lease() -> None:
    """A program that was stopped and goes on gives its next sign of life in time."""
    program = [sys.executable, "-c", _PAUSED]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "leads\n"
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        time.sleep(3)  # the pause is the subject, and its clock is the real one
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "leads\n"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("wrong", [0, -1, 0.05, float("nan"), float("inf"), "5", True])
def test_watchdog_that_is_no_time_is_refused(store: Store, wrong: Any) -> None:
    """The constructor raises."""
    with pytest.raises(ConfigurationError, match="watchdog"):
        Candidate(store, "key", "a", watchdog=wrong)


async def _coroutine() -> bool:
    return True


@pytest.mark.parametrize("wrong", [_coroutine, "yes", True, lambda term: True])
def test_ready_that_cannot_be_called_is_refused(store: Store, wrong: Any) -> None:
    """The constructor raises."""
    with pytest.raises(ConfigurationError, match="ready"):
        Candidate(store, "key", "a", ready=wrong)
