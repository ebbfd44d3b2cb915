"""Signals, taken in by a thread: a handler interrupts just any line, so it must do nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Self

__all__ = ["Signals"]

log = logging.getLogger("leadership.command")

_END = 0  # no signal has this number


class Signals:
    """While entered, calls back for each signal, and once when nobody reads the output.

    Both are called in one thread, one after the other, and must not block. Enter it in the
    main thread.

    Args:
        on_signal: gets the number.
        on_unread: called when stdout is a pipe and its reader has gone.
        numbers: of the signals.
    """

    def __init__(
        self,
        on_signal: Callable[[int], None],
        on_unread: Callable[[], object],
        *numbers: int,
    ) -> None:
        self._on_signal = on_signal
        self._on_unread = on_unread
        self._numbers = numbers
        self._before: dict[int, Any] = {}
        self._read, self._write = -1, -1
        self._write_before = -1
        self._thread = threading.Thread(target=self._run, name="leadership-signals", daemon=True)

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._thread.start()
        self._write_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _noted) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._write_before)
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, bytes([_END]))
        self._thread.join(1.0)
        if not self._thread.is_alive():
            os.close(self._read)
            os.close(self._write)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        with contextlib.suppress(OSError, ValueError):
            poll.register(1, 0)  # errors and hang-ups are reported without being asked for
        while True:
            ready = dict(poll.poll())
            if 1 in ready:
                poll.unregister(1)
                if not ready[1] & select.POLLNVAL:
                    self._call(self._on_unread)
            if self._read in ready:
                for number in os.read(self._read, 64):
                    if number == _END:
                        return
                    if number in self._numbers:
                        self._call(partial(self._on_signal, number))

    @staticmethod
    def _call(callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception:
            log.exception("a signal was not acted on")


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The number is in the pipe already; Python needs some handler for that."""
