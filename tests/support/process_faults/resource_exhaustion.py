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

from tests.support.process_faults.triggers import on_trigger

if TYPE_CHECKING:
    from tests.support.worker import WorkerContext

Play = Callable[["WorkerContext"], None]

_STANDARD = 3  # descriptors: standard input, output and error


def descriptors(how: str) -> Play:
    """Between two triggers, have no free file descriptors.

    Args:
        how: "later", or "first" for one that is given none when it begins to campaign.
    """

    def play(context: WorkerContext) -> None:
        usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)

        def starve() -> None:
            # Not even one that is free again: all that are below have been open all along.
            resource.setrlimit(resource.RLIMIT_NOFILE, (_STANDARD, most))
            context.recorder.note(starves=True)

        def turn() -> None:
            if resource.getrlimit(resource.RLIMIT_NOFILE)[0] != _STANDARD:
                starve()
                return
            resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
            context.recorder.note(fed=True)

        if how == "first":
            starve()
        on_trigger(turn)

    return play


def memory(how: str) -> Play:
    """At a trigger, raise MemoryError at a line of the library in one of its threads.

    Args:
        how: the name of the thread, and how many lines later it is with each trigger, "NAME/2".
    """
    name, _, every = how.partition("/")
    armed = [0, 1]  # how many lines it has still to come to, and how many at the next trigger

    def play(context: WorkerContext) -> None:
        def trace(frame: FrameType, event: str, arg: object) -> Any:
            mine = threading.current_thread().name == name and _is_ours(frame)
            return step if mine else None

        def step(frame: FrameType, event: str, arg: object) -> Any:
            if event == "line" and armed[0] and not _cannot_fail(frame):
                armed[0] -= 1
                if not armed[0]:
                    where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                    context.recorder.note(raised=where)
                    sys.settrace(None)
                    raise MemoryError(where)
            return step

        def arm() -> None:
            armed[:] = armed[1], armed[1] + int(every)

        _restart_tracing(trace)
        on_trigger(arm)

    return play


def _restart_tracing(trace: Callable[[FrameType, str, object], Any]) -> None:
    """Set the trace function again, which the interpreter removes with each error it raises."""
    from leadership_core.engine.scheduler import Scheduler
    from leadership_core.engine.session_keeper import SessionKeeper

    def again(method: Callable[..., Any]) -> Callable[..., Any]:
        def traced(*args: Any) -> Any:
            sys.settrace(trace)
            return method(*args)

        return traced

    for owner, name in (
        (SessionKeeper, "_renew"),
        (SessionKeeper, "_wait_until"),
        (Scheduler, "_next"),
    ):
        setattr(owner, name, again(getattr(owner, name)))


def _is_ours(frame: FrameType) -> bool:
    return "leadership_core" in frame.f_code.co_filename


def _cannot_fail(frame: FrameType) -> bool:
    """Whether the line needs no memory, or may be the end of a `with`.

    There an error would come before the statement protects anything, or leave a lock taken.
    """
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return line.startswith(("with ", "try:", "finally:", "while True:")) or line.endswith(
        ("= True", "= False")
    )


def all_memory(how: str) -> Play:
    """At the trigger, have no free memory for that many seconds."""

    def play(context: WorkerContext) -> None:
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
            context.recorder.note(fed=how)

        on_trigger(hunger)

    return play


assert sys.implementation.name == "cpython"
