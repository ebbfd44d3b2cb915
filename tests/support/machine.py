"""How busy the machine is, for tests that bound how long something takes."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["at_most"]

_LONGEST = 10.0  # times as long as on an idle machine; beyond that it is no matter of the load


def at_most(seconds: float) -> float:
    """Return the bound for what takes less than that many seconds on an idle machine.

    On a machine with more runnable processes than processors it is so many times as long.
    """
    crowding = max(os.getloadavg()[0], _runnable()) / (os.cpu_count() or 1)
    times = min(max(1.0, crowding), _LONGEST)
    return seconds * times + 0.1 * (times - 1.0)


def _runnable() -> float:
    try:
        return float(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    except (OSError, LookupError, ValueError):
        return 0.0
