"""The clock that leases are measured with."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

__all__ = ["Clock", "now"]

Clock = Callable[[], float]

# A lease goes on running at the server while this machine is suspended, and Linux's
# CLOCK_MONOTONIC does not. Elsewhere the monotonic clock is the best there is.
now: Clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds of the machine's boot clock: never set back, runs on while suspended."""
