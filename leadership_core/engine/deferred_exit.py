"""Deferral of the exit that a signal asks for, while a release is under way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import ParamSpec, TypeVar

__all__ = ["exit_by_signal", "is_exiting", "uninterrupted"]

P = ParamSpec("P")
T = TypeVar("T")

_deferred: list[int] = []
"""Signals that came while a release must not be interrupted; main thread only."""


class _Exit(SystemExit):
    """Raised by the handler: as long as it is being handled, the main thread unwinds."""


def uninterrupted(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate what must not be left half done: the handler's `SystemExit` waits for its end."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return _run_uninterrupted(function, *args, **kwargs)
        finally:
            if _deferred and threading.current_thread() is threading.main_thread():
                _exit_if_uninhibited(sys._getframe())  # noqa: SLF001 - as the handler is given

    return call


def exit_by_signal(number: int, frame: FrameType | None) -> None:
    """Raise `SystemExit(128 + number)` in the main thread, now or when the release has ended.

    Args:
        number: the signal.
        frame: where it has interrupted the main thread.
    """
    _deferred.append(number)
    _exit_if_uninhibited(frame)


def is_exiting() -> bool:
    """Whether the main thread unwinds after a signal already."""
    error = sys.exception()
    while error is not None:
        if isinstance(error, _Exit):
            return True
        error = error.__context__
    return False


def _run_uninterrupted(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    # The handler searches the stack for this very frame: a counter would be wrong from then on
    # after an exception between counting and the `try`.
    return function(*args, **kwargs)


def _exit_if_uninhibited(frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code is _run_uninterrupted.__code__:
            return
        frame = frame.f_back
    number = _deferred[0]
    _deferred.clear()
    raise _Exit(128 + number)
