"""Pauses of a process at critical moments, and threads that are not scheduled."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.support.process_faults.triggers import on_trigger, stop_here

if TYPE_CHECKING:
    from tests.support.worker import WorkerContext

Play = Callable[["WorkerContext"], None]


def before_the_news(how: str) -> Play:
    """Stop the process once, between the election and the event about it.

    Args:
        how: "engine" for the moment at which the store's answer has come, and nothing has
            taken it in; "program" for that at which the term has begun, and its event was not delivered.
    """
    return {"engine": _before_the_engine, "program": _before_the_program}[how]


def _before_the_engine(context: WorkerContext) -> None:
    from leadership_core.backend.protocols import Leading
    from leadership_core.engine import messages
    from leadership_core.engine.candidate_requests import CandidateRequests

    outcome_of, stop = CandidateRequests._outcome_of, _Once(stop_here)

    def stopping(self: CandidateRequests, *request: Any) -> messages.Input | None:
        message = outcome_of(self, *request)
        match message:
            case messages.Entered(_, claim) if claim.granted:
                stop()
            case messages.StatusReceived(_, Leading()):
                stop()
        return message

    CandidateRequests._outcome_of = stopping  # type: ignore[assignment, method-assign]  # a stand-in for this test


def _before_the_program(context: WorkerContext) -> None:
    from leadership_core import Elected
    from leadership_core.engine.candidate_state import CandidateState

    publish, stop = CandidateState.publish, _Once(stop_here)

    def stopping(self: CandidateState, event: Any) -> None:
        if isinstance(event, Elected):
            stop()
        publish(self, event)

    CandidateState.publish = stopping  # type: ignore[method-assign]  # a stand-in for this test


class _Once:
    """Acts at its first call only, in any thread."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._first = threading.Lock()

    def __call__(self) -> None:
        if self._first.acquire(blocking=False):
            self._act()


def writes(how: str) -> Play:
    """At the trigger, check for leadership and write as leader.

    Args:
        how: "late" to stop in between, or "now".
    """

    def play(context: WorkerContext) -> None:
        from leadership_core import Fenced

        def write() -> None:
            term = context.candidate.term
            assert term is not None
            assert context.candidate.is_leader
            if how == "late":
                stop_here()
            try:
                context.store.put(
                    f"{context.candidate.key}-work", context.candidate.value.encode(), fence=term
                )
            except Fenced:
                context.recorder.note(refused=term.token)
            else:
                context.recorder.note(written=term.token)

        on_trigger(write)

    return play


def hogs(how: str) -> Play:
    """At the trigger, let no other thread run for that many seconds."""
    # A call into C that keeps the interpreter's lock, as extensions do that were not written for
    # threads; a loop in Python would share.
    hog = ctypes.PyDLL(None).usleep

    def play(context: WorkerContext) -> None:
        def hold(*_: object) -> None:
            hog(int(float(how) * 1_000_000))
            context.recorder.note(hogged=how)

        signal.signal(signal.SIGUSR2, hold)  # in the main thread, which is the one that polls

    return play


def blocks_its_loop(how: str) -> Play:
    """Read from a coroutine; at the trigger, block its event loop for that many seconds."""

    def play(context: WorkerContext) -> None:
        from tests.support import worker

        trigger = threading.Event()
        signal.signal(signal.SIGUSR2, lambda *_: trigger.set())

        async def poll(candidate: Any, recorder: Any, over: threading.Event, pause: float) -> None:
            poller = worker.LeadershipPoller(candidate, recorder)
            while poller.poll() or not over.is_set():
                if trigger.is_set():
                    trigger.clear()
                    time.sleep(float(how))  # this is the fault
                    recorder.note(blocked=how)
                await asyncio.sleep(pause)

        worker.poll_leadership = lambda *args: asyncio.run(poll(*args))

    return play
