"""Watchdog of a candidate, and the signs of life of work."""

from __future__ import annotations

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
    Store,
    Term,
    open_store,
)
from leadership_core.backend import clock
from leadership_core.backend.time_source import TimeSource
from leadership_core.engine import messages
from leadership_core.engine.watchdog import Watchdog
from leadership_core.term import TermState
from tests.support.internals import term_state
from tests.support.waiting import ends_of
from tests.unit.conftest import Open


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
