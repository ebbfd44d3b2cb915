"""Graceful exit on signals: candidates are stopped first, then the main thread unwinds.

Python's default for SIGTERM ends the process at once: no `with` block is left, no atexit
function runs, and claims stay at the store until their ttl is over.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Self

from .engine.deferred_exit import exit_by_signal, is_exiting
from .engine.process_hooks import begin_close_all
from .errors import ConfigurationError

__all__ = ["GracefulExit", "graceful_exit"]


def graceful_exit(*signals: int) -> GracefulExit:
    """Let signals end the program as Ctrl-C does: `with` blocks are left, claims are released.

    The handler first lets the candidates and followers of all open stores start to stop, so that
    iterators end, in other threads, too. Then it raises `SystemExit(128 + number)` in the main
    thread. Where the main thread is in `close`, `stop`, `resign` or `release`, that is raised when
    the call returns. Another signal while the program ends changes nothing. When the main thread
    has ended already, and only other threads run, nothing is raised: those that wait on a
    candidate or a follower end, and the process ends with them.

    While the main thread runs an event loop of asyncio, the loop raises it, between two steps of its
    tasks: `asyncio.run` cancels all tasks then, and waits until they have left their blocks.

    Call it once, early, in the main thread; or use it as a `with` block, outside of that of the
    store, which puts back the handlers that were there before. Does not block.

    Args:
        signals: signal numbers; by default SIGTERM and SIGHUP. A signal that is ignored (as SIGHUP
            is under nohup), or for which the program has its own handler, is left unchanged.

    Returns:
        The result: `installed` and `left_alone` list the signals. It is true unless a signal was
        left unchanged; an ignored one of the default signals does not count.

    Raises:
        ConfigurationError: it was called outside of the main thread, or a signal does not exist
            or cannot be handled.

    Example:
        >>> with graceful_exit() as result:
        ...     with open_store("memory://") as store, Candidate(store, "api", "node-1") as candidate:
        ...         candidate.wait_elected(timeout=5) is not None
        True
    """
    return GracefulExit(signals)


class GracefulExit:
    """The result of `graceful_exit`; as a `with` block it restores the handlers at the end.

    Attributes:
        installed: the signals that end the program gracefully.
        left_alone: the signals that are ignored, or have another handler.
    """

    def __init__(self, signals: tuple[int, ...]) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ConfigurationError(
                "graceful_exit() must be called in the main thread: "
                "Python handles signals in no other one"
            )
        hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
        usual = (signal.SIGTERM,) if hang_up is None else (signal.SIGTERM, hang_up)
        numbers = [_checked(number) for number in dict.fromkeys(signals or usual)]
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
            if signal.getsignal(number) is _handle:  # not replaced since
                signal.signal(number, before)  # type: ignore[arg-type]  # as getsignal returned it

    def __repr__(self) -> str:
        done = ", ".join(f"signal {number:d}" for number in self.installed) or "no signal"
        return f"<graceful exit at {done}>"


def _handle(number: int, frame: FrameType | None) -> None:
    begin_close_all()
    if is_exiting() or not threading.main_thread().is_alive():
        return  # or the interpreter ends: other threads are awaited, then the stores are closed
    if not _exit_by_loop(number):
        exit_by_signal(number, frame)


def _exit_by_loop(number: int) -> bool:
    """Let the event loop of the main thread raise the exit, if it is running; False if it is not.

    An exception that is raised anywhere in a loop may lose what the loop is about to do: a task then
    waits without end, and so does `asyncio.run`, which waits for all tasks.
    """
    asyncio = sys.modules.get("asyncio")  # a program that runs a loop has imported it
    if asyncio is None:
        return False

    def exit_now() -> None:
        if not is_exiting():
            exit_by_signal(number, sys._getframe())  # noqa: SLF001 - as a handler is given

    try:
        asyncio.get_running_loop().call_soon_threadsafe(exit_now)
    except (AttributeError, RuntimeError):  # it is being imported, or no loop runs, or it is closed
        return False
    return True


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
