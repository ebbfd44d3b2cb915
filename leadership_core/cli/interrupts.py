"""How a command that drives others is interrupted, and how it still leaves all in order."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

__all__ = ["interruptible", "undisturbed"]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what is inside as Ctrl-C does, so that nothing is left behind."""
    with _handling(_interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let nothing interrupt what is inside: a second Ctrl-C would leave behind what it removes."""
    with _handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def _handling(handler: signal._HANDLER, *numbers: signal.Signals) -> Iterator[None]:
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        # Ignored as nohup has it, it stays so. Nothing starts a command with SIGTERM ignored on purpose.
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, signal.SIG_DFL if one is None else one)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
