"""Mailbox of the main thread: signals, and messages of other threads, with a descriptor to poll."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Iterator
from types import FrameType
from typing import Any, Generic, Self, TypeVar

from .supervisor import ENDING_SIGNALS

__all__ = ["Mailbox"]

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Receives the signals while it is entered, which must be in the main thread.

    Args:
        numbers: numbers of the signals.
    """

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        self._messages: deque[T] = deque()
        self._before: dict[int, Any] = {}
        self._read = self._write = self._write_before = -1

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._write_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # The wakeup descriptor gets the number; Python writes it only if there is some handler.
        self._before = {
            number: signal.signal(number, lambda _number, _frame: None) for number in self._numbers
        }
        return self

    def __exit__(self, *_: object) -> None:
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._write_before)
        read, write, self._read, self._write = self._read, self._write, -1, -1
        os.close(read)
        os.close(write)

    def fileno(self) -> int:
        """The descriptor that is ready when there is something to `take`."""
        return self._read

    def post(self, message: T) -> None:
        """Add a message; from any thread, and after the mailbox was left without effect."""
        self._messages.append(message)
        with contextlib.suppress(OSError):  # full, so that it is ready in any case
            os.write(self._write, b"\0")

    def take(self) -> Iterator[int | T]:
        """Return what has come, the signals first; does not block."""
        numbers = b""
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self._read, 4096)
        yield from (number for number in numbers if number)
        while self._messages:
            yield self._messages.popleft()

    def exit_on_signals(self, seconds: float, code: int) -> None:
        """Let the signals that end a process end this one at once, until the mailbox is left.

        Args:
            seconds: after which the process ends, too.
            code: the exit code for that.
        """

        def end(number: int, _frame: FrameType | None) -> None:
            os._exit(code if number == signal.SIGALRM else 128 + number)

        for number in {signal.SIGALRM, *ENDING_SIGNALS.intersection(self._numbers)}:
            before = signal.signal(number, end)
            self._before.setdefault(number, before)
        signal.setitimer(signal.ITIMER_REAL, seconds)
