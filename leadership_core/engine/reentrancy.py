"""Detection of calls that a signal handler has interrupted in its own thread.

The interrupted call goes on when the handler returns, and not before. Until then it keeps what it
holds: a connection, a transaction, the lock of a client library. So the handler must neither need
that nor wait for threads that do. Interrupted calls are found on the stack: a counter would stay
wrong after an exception between counting and the `try`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import ParamSpec, TypeVar

__all__ = ["interrupts", "run_callback", "run_uninterruptible"]

P = ParamSpec("P")
T = TypeVar("T")


def run_uninterruptible(
    owner: object,  # noqa: ARG001 - `interrupts` finds it on the stack
    function: Callable[P, T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call a function that must have returned before the owner can be waited for in this thread."""
    return function(*args, **kwargs)


def run_callback(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a user's function from inside such a call, where nothing is held."""
    return function(*args, **kwargs)


def interrupts(owner: object) -> bool:
    """Whether the calling code has interrupted a call of this thread that the owner waits for."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no public way to the stack
    while frame is not None:
        if frame.f_code is run_callback.__code__:
            return False
        if frame.f_code is run_uninterruptible.__code__ and frame.f_locals["owner"] is owner:
            return True
        frame = frame.f_back
    return False
