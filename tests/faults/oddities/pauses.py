"""Processes that stand still at the worst moment, or do not let their threads run."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.faults.oddities.cues import on_cue, stop_here

if TYPE_CHECKING:
    from tests.scenarios.worker import Stage

Play = Callable[["Stage"], None]


def before_the_news(how: str) -> Play:
    """Stop, once, between the election and the news of it.

    Args:
        how: "engine" for the moment at which the store's answer has come, and nothing has
            taken it in; "program" for that at which the term has begun, and was not told.
    """
    return {"engine": _before_the_engine, "program": _before_the_program}[how]


def _before_the_engine(stage: Stage) -> None:
    from leadership_core.engine.candidate_runner import CandidateRunner
    from leadership_core.machine import happenings as on
    from leadership_core.store import Leading

    post, stop = CandidateRunner.post, _Once(stop_here)

    def stopping(self: CandidateRunner, happening: on.Happening) -> None:
        match happening:
            case on.Entered(_, claim) if claim.granted:
                stop()
            case on.Stood(_, Leading()):
                stop()
        post(self, happening)

    CandidateRunner.post = stopping  # type: ignore[method-assign]


def _before_the_program(stage: Stage) -> None:
    from leadership_core import Elected
    from leadership_core.tenure import Tenure

    tell, stop = Tenure.tell, _Once(stop_here)

    def stopping(self: Tenure, event: Any) -> None:
        if isinstance(event, Elected):
            stop()
        tell(self, event)

    Tenure.tell = stopping  # type: ignore[method-assign]


class _Once:
    """Acts at the first call only, from whatever thread."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._first = threading.Lock()

    def __call__(self) -> None:
        if self._first.acquire(blocking=False):
            self._act()


def writes(how: str) -> Play:
    """At the cue, look whether it leads and write what only a leader may.

    Args:
        how: "late" to stop in between, or "now".
    """

    def play(stage: Stage) -> None:
        from leadership_core import Fenced

        def write() -> None:
            term = stage.candidate.term
            assert term is not None
            assert stage.candidate.is_leader
            if how == "late":
                stop_here()
            try:
                stage.store.put(
                    f"{stage.candidate.key}-work", stage.candidate.value.encode(), fence=term
                )
            except Fenced:
                stage.writer.note(refused=term.token)
            else:
                stage.writer.note(written=term.token)

        on_cue(write)

    return play


def hogs(how: str) -> Play:
    """At the cue, let no other thread run for that many seconds."""
    # A call into C that keeps the interpreter's lock, as extensions do that were not written for
    # threads; a loop in Python would share.
    hog = ctypes.PyDLL(None).usleep

    def play(stage: Stage) -> None:
        def hold(*_: object) -> None:
            hog(int(float(how) * 1_000_000))
            stage.writer.note(hogged=how)

        signal.signal(signal.SIGUSR2, hold)  # in the main thread, which is the one that looks

    return play


def blocks_its_loop(how: str) -> Play:
    """Look from a coroutine; at the cue, block its event loop for that many seconds."""

    def play(stage: Stage) -> None:
        from tests.scenarios import worker

        cue = threading.Event()
        signal.signal(signal.SIGUSR2, lambda *_: cue.set())

        async def look(candidate: Any, writer: Any, over: threading.Event, pause: float) -> None:
            looker = worker.Looker(candidate, writer)
            while looker.look() or not over.is_set():
                if cue.is_set():
                    cue.clear()
                    time.sleep(float(how))  # this is the fault
                    writer.note(blocked=how)
                await asyncio.sleep(pause)

        worker.look = lambda *args: asyncio.run(look(*args))

    return play
