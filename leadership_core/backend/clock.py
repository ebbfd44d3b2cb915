"""Clock of all leases and deadlines: the boot clock, which runs on while the machine is suspended."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

__all__ = ["Clock", "now"]

Clock = Callable[[], float]

# A lease runs on at the server while this machine is suspended, and Linux's CLOCK_MONOTONIC does
# not. Other systems have no better clock than the monotonic one.
now: Clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds of the machine's boot clock: never set back, runs on while suspended."""
