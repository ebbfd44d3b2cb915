"""Waiting for a condition or a callback, and bounds that allow for the load of the machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leadership_core import Candidate, Entry, Lost, Resigned

__all__ = ["Limit", "Seen", "at_most", "ends_of", "eventually", "has_value", "took", "wait_until"]

_LARGEST_FACTOR = 10.0  # a longer delay is not caused by the load


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    """Poll until the condition is true; False if it is not in time."""
    limit = Limit(seconds)
    while not condition():
        if limit.is_over():
            return False
        time.sleep(0.005)
    return True


def wait_until(condition: Callable[[], object], seconds: float = 5.0, what: str = "") -> None:
    """Poll until the condition is true; fail the test if it is not in time.

    Args:
        condition: called every few milliseconds.
        seconds: to wait on an idle machine.
        what: the condition in words, for the message.
    """
    assert eventually(condition, seconds), f"not within {seconds:g} s: {what or condition}"


class Seen(list[Any]):
    """A callback that records what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def __call__(self, what: Any = None) -> None:
        with self._changed:
            self.append(what)
            self._changed.notify_all()

    def wait(self, condition: Callable[[Any], object], seconds: float = 5.0) -> Any:
        """Wait until the condition is true of the last argument, and return that."""
        limit = Limit(seconds)
        with self._changed:
            while not self._changed.wait_for(lambda: bool(self and condition(self[-1])), seconds):
                said = f"not within {seconds:g} s; the last calls were with {self[-5:]}"
                assert not limit.is_over(), said
            return self[-1]

    def wait_for(self, value: object, seconds: float = 5.0) -> None:
        """Wait until the last argument equals this one."""
        self.wait(lambda last: last == value, seconds)


def has_value(value: bytes) -> Callable[[object], bool]:
    """A condition for `Seen.wait`: an entry with this value."""
    return lambda seen: isinstance(seen, Entry) and seen.value == value


class Limit:
    """The end of a wait, which is later if the load grows meanwhile.

    Args:
        seconds: to wait on an idle machine.
    """

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._seconds = self._limit = seconds

    def is_over(self) -> bool:
        """Whether the wait is longer than allowed under the largest load so far."""
        waited = time.monotonic() - self._began
        if waited > self._limit:  # the load is read only then
            self._limit = max(self._limit, at_most(self._seconds))
        return waited > self._limit


def at_most(seconds: float) -> float:
    """Return the time limit for what takes less than `seconds` on an idle machine.

    The limit grows with the number of runnable processes for each processor, and with the share of
    the last ten seconds in which one of them waited for a processor or the disk.
    """
    crowding = max(os.getloadavg()[0], _runnable()) / (os.cpu_count() or 1)
    pressure = 1.0 + max(_pressure("cpu"), _pressure("io"))
    factor = min(max(crowding, pressure), _LARGEST_FACTOR)
    return seconds * factor + 0.1 * (factor - 1.0)


def _runnable() -> float:
    try:
        return float(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    except (OSError, LookupError, ValueError):
        return 0.0


def _pressure(of: str) -> float:
    try:
        some = Path(f"/proc/pressure/{of}").read_text()  # "some avg10=88.56 avg60=..."
        return float(some.partition("avg10=")[2].split()[0]) / 100
    except (OSError, LookupError, ValueError):
        return 0.0


def took(action: Callable[[], object]) -> float:
    """Return the seconds that the call takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def ends_of(candidate: Candidate) -> list[Lost | Resigned]:
    """A list that gets what ends the terms of a candidate."""
    ends: list[Lost | Resigned] = []
    candidate.add_listener(
        lambda event: ends.append(event) if isinstance(event, Lost | Resigned) else None
    )
    return ends
