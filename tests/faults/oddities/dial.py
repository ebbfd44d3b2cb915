"""Clocks that a test sets, in processes that run.

A dial is a file that the test and any number of processes have in their memory. What it says is
added to what their clocks tell them; the clock of the diaries is left alone.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Dial"]

_SHAPE = struct.Struct("dddd")


class Dial:
    """How wrong the clocks of some processes are; all in seconds.

    Attributes:
        wall: that the wall clock is ahead.
        boot: that the boot clock is ahead.
        monotonic: that the monotonic clock is ahead: it stands still while a machine is suspended.
        rate: how fast the boot clock and the monotonic clock run, 1 is right.

    Args:
        file: of the dial, which is made if it is not there.
    """

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(_SHAPE.pack(0.0, 0.0, 0.0, 1.0))
        self.file = file
        with file.open("rb+") as opened:
            self._memory = mmap.mmap(opened.fileno(), _SHAPE.size)

    def set(
        self, *, wall: float = 0.0, boot: float = 0.0, monotonic: float = 0.0, rate: float = 1.0
    ) -> None:
        """Set it; what is not named is right. The rate is set before a process starts."""
        _SHAPE.pack_into(self._memory, 0, wall, boot, monotonic, rate)

    def read(self) -> tuple[float, float, float, float]:
        """Wall, boot, monotonic, rate."""
        return _SHAPE.unpack_from(self._memory)

    def wind(self) -> None:
        """Let the clocks of this process be those of the dial, from now on."""
        gettime = time.clock_gettime
        begun = gettime(time.CLOCK_BOOTTIME), gettime(time.CLOCK_MONOTONIC)

        def told(clock: int) -> float:
            now = gettime(clock)
            wall, boot, monotonic, rate = self.read()
            if clock == time.CLOCK_REALTIME:
                return now + wall
            if clock == time.CLOCK_BOOTTIME:
                return begun[0] + (now - begun[0]) * rate + boot
            if clock == time.CLOCK_MONOTONIC:
                return begun[1] + (now - begun[1]) * rate + monotonic
            return now

        replaced: dict[str, Callable[..., Any]] = {
            "clock_gettime": told,
            "monotonic": lambda: told(time.CLOCK_MONOTONIC),
            "monotonic_ns": lambda: int(told(time.CLOCK_MONOTONIC) * 1e9),
            "time": lambda: _real(gettime) if _for_grpc() else told(time.CLOCK_REALTIME),
            "time_ns": lambda: int(told(time.CLOCK_REALTIME) * 1e9),
        }
        for name, clock in replaced.items():
            setattr(time, name, clock)


def _real(gettime: Callable[[int], float]) -> float:
    return gettime(time.CLOCK_REALTIME)


def _for_grpc() -> bool:
    """Whether gRPC is about to compare the time with that of its part in C, which has no dial."""
    return sys._getframe(2).f_code.co_name == "_deadline"
