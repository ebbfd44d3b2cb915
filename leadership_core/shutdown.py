"""Signals that end the program: candidates are stopped first, then the main thread unwinds.

Python's default for SIGTERM ends the process at once: no `with` block is left, no atexit
function runs, and what was held stays at the store until its ttl is over.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from functools import wraps
from types import FrameType, TracebackType
from typing import ParamSpec, Self, TypeVar

from . import lifetimes
from .errors import ConfigurationError

__all__ = ["GracefulExit", "graceful_exit", "uninterrupted"]

P = ParamSpec("P")
T = TypeVar("T")


_postponed: list[int] = []
"""Signals that came while a release must not be interrupted; main thread only."""


class _Exit(SystemExit):
    """Raised by the handler: as long as it is being handled, the main thread unwinds."""


def graceful_exit(*signals: int) -> GracefulExit:
    """Let signals end the program as Ctrl-C does: `with` blocks are left, claims are released.

    The handler first lets the candidates and followers of all open stores start to stop, so that
    iterators end, in other threads, too. Then it raises `SystemExit(128 + number)` in the main
    thread. Where the main thread is in `close`, `stop`, `resign` or `release`, that is raised when
    the call returns. Another signal while the program ends changes nothing. When the main thread
    has ended already, and only other threads run, nothing is raised: those that wait on a
    candidate or a follower end, and the process ends with them.

    Call it once, early, in the main thread; or use it as a `with` block, outside of that of the
    store, which puts back the handlers that were there before. Does not block.

    Args:
        signals: numbers; by default SIGTERM and SIGHUP. A signal that is ignored (as SIGHUP is
            under nohup), or for which the program has a handler of its own, is left as it is.

    Returns:
        What was done: `installed` and `left_alone` have the signals. It is true if none was left
        alone but a default one that is ignored.

    Raises:
        ConfigurationError: it was called outside of the main thread, or there is no such signal,
            or none that can be handled.

    Example:
        >>> graceful_exit()
        >>> with open_store("etcd://127.0.0.1:2379") as store:
        ...     Candidate(store, "service/api", "node-1").lead(work)
    """
    return GracefulExit(signals)


class GracefulExit:
    """What `graceful_exit` has done; as a `with` block it is undone at the end.

    Attributes:
        installed: the signals that end the program gracefully.
        left_alone: those that are ignored, or have a handler that somebody else installed.
    """

    def __init__(self, signals: tuple[int, ...]) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ConfigurationError(
                "graceful_exit() must be called in the main thread: "
                "Python handles signals in no other one"
            )
        numbers = [_checked(number) for number in dict.fromkeys(signals or _usual())]
        self.installed: tuple[int, ...] = ()
        self.left_alone: tuple[int, ...] = ()
        self._before: dict[int, object] = {}
        self._complete = True
        for number in numbers:
            before = signal.getsignal(number)
            if any(before is one for one in (signal.SIG_DFL, signal.default_int_handler, _handle)):
                self._before[number] = before
                signal.signal(number, _handle)
                self.installed += (number,)
            else:
                self.left_alone += (number,)
                self._complete &= not signals and before is signal.SIG_IGN

    def __bool__(self) -> bool:
        return self._complete

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) is _handle:  # nobody has put another one there since
                signal.signal(number, before)  # type: ignore[arg-type]  # as getsignal returned it

    def __repr__(self) -> str:
        done = ", ".join(f"signal {number:d}" for number in self.installed) or "no signal"
        return f"<graceful exit at {done}>"


def uninterrupted(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate what must not be left half done: the handler's `SystemExit` waits for its end."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return _run_uninterrupted(function, *args, **kwargs)
        finally:
            _raise_postponed()

    return call


def _run_uninterrupted(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    # The handler looks for this very frame: a counter would be wrong for ever after an exception
    # between counting and the `try`.
    return function(*args, **kwargs)


def _raise_postponed() -> None:
    if not _postponed or threading.current_thread() is not threading.main_thread():
        return
    if not _is_uninterrupted(sys._getframe()):  # noqa: SLF001 - as the handler is given
        number = _postponed[0]
        _postponed.clear()
        raise _Exit(128 + number)


def _handle(number: int, frame: FrameType | None) -> None:
    lifetimes.begin_close_all()
    if _is_unwinding() or not threading.main_thread().is_alive():
        return  # or the interpreter ends: other threads are awaited, then the stores are closed
    if _is_uninterrupted(frame):
        _postponed.append(number)
        return
    raise _Exit(128 + number)


def _is_unwinding() -> bool:
    error = sys.exception()
    while error is not None:
        if isinstance(error, _Exit):
            return True
        error = error.__context__
    return False


def _is_uninterrupted(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is _run_uninterrupted.__code__:
            return True
        frame = frame.f_back
    return False


def _usual() -> tuple[int, ...]:
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
    return (signal.SIGTERM,) if hang_up is None else (signal.SIGTERM, hang_up)


def _checked(number: object) -> int:
    """Return the signal; raises `ConfigurationError` if there is none that can be handled."""
    known = (one for one in signal.valid_signals() if one == number)
    found = None if isinstance(number, bool) else next(known, None)
    if found is None:
        raise ConfigurationError(
            f"graceful_exit() takes numbers of signals, such as signal.SIGTERM, not {number!r:.60}"
        )
    if any(found == getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")):
        raise ConfigurationError(f"no program can handle signal {number}")
    return found
