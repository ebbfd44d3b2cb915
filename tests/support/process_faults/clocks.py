"""Clocks of running processes, which a test sets.

A dial is a file that the test and any number of processes have in their memory. What it says is
added to the readings of their clocks; the clock of the recordings is not changed.
"""

from __future__ import annotations

import mmap
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.process_faults.triggers import on_trigger

if TYPE_CHECKING:
    from tests.support.worker import WorkerContext

__all__ = ["Dial"]


_SHAPE = struct.Struct("dddd")


class Dial:
    """The deviations of the clocks of some processes, in seconds.

    Attributes:
        wall: that the wall clock is ahead.
        boot: that the boot clock is ahead.
        monotonic: that the monotonic clock is ahead: it stops while a machine is suspended.
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
        """Set all deviations; those not named are 0. The rate is set before a process starts."""
        _SHAPE.pack_into(self._memory, 0, wall, boot, monotonic, rate)

    def read(self) -> tuple[float, float, float, float]:
        """Return the deviations of the wall, boot and monotonic clock, and the rate."""
        return _SHAPE.unpack_from(self._memory)

    def wind(self) -> None:
        """Apply the dial to the clocks of this process from now on."""
        gettime = time.clock_gettime
        begun = gettime(time.CLOCK_BOOTTIME), gettime(time.CLOCK_MONOTONIC)

        def reading(clock: int) -> float:
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
            "clock_gettime": reading,
            "monotonic": lambda: reading(time.CLOCK_MONOTONIC),
            "monotonic_ns": lambda: int(reading(time.CLOCK_MONOTONIC) * 1e9),
            "time": lambda: _real(gettime) if _for_grpc() else reading(time.CLOCK_REALTIME),
            "time_ns": lambda: int(reading(time.CLOCK_REALTIME) * 1e9),
        }
        for name, clock in replaced.items():
            setattr(time, name, clock)


def _real(gettime: Callable[[int], float]) -> float:
    return gettime(time.CLOCK_REALTIME)


def _for_grpc() -> bool:
    """Whether gRPC is about to compare the time with that of its C core, which has no dial."""
    return sys._getframe(2).f_code.co_name == "_deadline"


def dialled(how: str) -> Callable[[WorkerContext], None]:
    """Use the clocks of the dial in that file."""
    Dial(Path(how)).wind()
    return lambda context: None


def strobes(how: str) -> Callable[[WorkerContext], None]:
    """Between two triggers, set the wall clock back and forth about 200 times a second.

    Args:
        how: the file of the dial.
    """
    dial = Dial(Path(how))
    dial.wind()
    strobing = threading.Event()

    def strobe() -> None:
        amounts = [3600.0, -3600.0, 0.004, -262.0, 0.0]
        while strobing.wait():
            for wall in amounts:
                dial.set(wall=wall)
                time.sleep(0.005)

    def play(context: WorkerContext) -> None:
        threading.Thread(target=strobe, daemon=True).start()
        on_trigger(lambda: strobing.clear() if strobing.is_set() else strobing.set())

    return play
