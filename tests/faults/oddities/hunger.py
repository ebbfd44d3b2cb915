"""Processes that run out of descriptors or memory."""

from __future__ import annotations

import linecache
import resource
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tests.faults.oddities.cues import on_cue

if TYPE_CHECKING:
    from tests.scenarios.worker import Stage

Play = Callable[["Stage"], None]

_STANDARD = 3  # descriptors: standard input, output and error


def descriptors(how: str) -> Play:
    """Be given no descriptor from one cue to the next.

    Args:
        how: "later", or "first" for one that is given none when it begins to stand.
    """

    def play(stage: Stage) -> None:
        usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)

        def starve() -> None:
            # Not even one that is free again: all that are below have been open all along.
            resource.setrlimit(resource.RLIMIT_NOFILE, (_STANDARD, most))
            stage.writer.note(starves=True)

        def turn() -> None:
            if resource.getrlimit(resource.RLIMIT_NOFILE)[0] != _STANDARD:
                starve()
                return
            resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
            stage.writer.note(fed=True)

        if how == "first":
            starve()
        on_cue(turn)

    return play


def memory(how: str) -> Play:
    """At a cue, raise MemoryError at a line that the library comes to in one of its threads.

    Args:
        how: the name of the thread, and how many lines later it is with each cue, "NAME/2".
    """
    name, _, every = how.partition("/")
    armed = [0, 1]  # how many lines it has still to come to, and how many at the next cue

    def play(stage: Stage) -> None:
        def trace(frame: FrameType, event: str, arg: object) -> Any:
            mine = threading.current_thread().name == name and _is_ours(frame)
            return step if mine else None

        def step(frame: FrameType, event: str, arg: object) -> Any:
            if event == "line" and armed[0] and not _cannot_fail(frame):
                armed[0] -= 1
                if not armed[0]:
                    where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                    stage.writer.note(raised=where)
                    sys.settrace(None)
                    raise MemoryError(where)
            return step

        def arm() -> None:
            armed[:] = armed[1], armed[1] + int(every)

        _trace_anew(trace)
        on_cue(arm)

    return play


def _trace_anew(trace: Callable[[FrameType, str, object], Any]) -> None:
    """Trace the threads of the engine; the interpreter ends that with each error it raises."""
    from leadership_core.engine.leased_session import LeasedSession
    from leadership_core.engine.scheduler import Scheduler

    def again(method: Callable[..., Any]) -> Callable[..., Any]:
        def traced(*args: Any) -> Any:
            sys.settrace(trace)
            return method(*args)

        return traced

    for owner, name in (
        (LeasedSession, "_renew"),
        (LeasedSession, "_wait_until"),
        (Scheduler, "_next"),
    ):
        setattr(owner, name, again(getattr(owner, name)))


def _is_ours(frame: FrameType) -> bool:
    return "leadership_core" in frame.f_code.co_filename


def _cannot_fail(frame: FrameType) -> bool:
    """Whether no memory is needed in this line, or it may be the end of a `with`.

    There an error would come before the statement protects anything, or leave a lock taken.
    """
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return line.startswith(("with ", "try:", "finally:", "while True:")) or line.endswith(
        ("= True", "= False")
    )


def all_memory(how: str) -> Play:
    """At the cue, have no memory left, for that many seconds."""

    def play(stage: Stage) -> None:
        def hunger() -> None:
            limits = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (1, limits[1]))
            hoard: list[Any] = []
            for size in (1 << 20, 1 << 14, 1 << 10, 400, 100, 30):
                with suppress(MemoryError):
                    while True:
                        hoard = [bytes(size), hoard]
            threading.Event().wait(float(how))
            del hoard
            resource.setrlimit(resource.RLIMIT_AS, limits)
            stage.writer.note(fed=how)

        on_cue(hunger)

    return play


assert sys.implementation.name == "cpython"
