"""Signals, handled in a thread: a handler may interrupt any line of code, so it does nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import FrameType
from typing import Any, NoReturn, Self

from . import output

__all__ = ["Signals", "deferred", "interruptible"]


log: logging.Logger = logging.getLogger("leadership.command")

_END = 0  # no signal has this number


class Signals:
    """While entered, calls back for each signal, and once when the reader of stdout has gone.

    Both are called in one thread, one after the other, and must not block. It must be entered in the
    main thread.

    Args:
        on_signal: called with the number of the signal.
        on_reader_gone: called when stdout is a pipe and its reader has gone.
        numbers: numbers of the signals.
    """

    def __init__(
        self,
        on_signal: Callable[[int], None],
        on_reader_gone: Callable[[], object],
        *numbers: int,
    ) -> None:
        self._on_signal = on_signal
        self._on_reader_gone = on_reader_gone
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
        # The wakeup descriptor gets the number; Python writes it only if there is some handler.
        self._before = {
            number: signal.signal(number, lambda _number, _frame: None) for number in self._numbers
        }
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
                    self._call(self._on_reader_gone)
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
            log.exception("handling a signal failed")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that it cleans up after itself."""

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    with _handling(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Ignore signals in the block, which cleans up: a second Ctrl-C must not interrupt that.

    If a signal has ended what was before, a line on the terminal says why the program has not ended yet.
    """
    if isinstance(sys.exception(), KeyboardInterrupt | SystemExit) and sys.stderr.isatty():
        _announce_clearing_up()
    with _handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@cache
def _announce_clearing_up() -> None:
    # Once, although several such blocks may follow each other.
    output.print_error("leadership", "clearing up what was created at the store, and then ending")


@contextlib.contextmanager
def _handling(handler: signal._HANDLER, *numbers: signal.Signals) -> Iterator[None]:
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        # A signal that nohup ignores stays ignored. No program ignores SIGTERM for a command on purpose.
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, signal.SIG_DFL if one is None else one)
