"""The faults that a scenario injected into an election, with their times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.recording import now

__all__ = ["Fault", "FaultLog", "Mark"]


@dataclass
class Fault:
    """A fault that lasts; its times are nanoseconds of the boot clock.

    Attributes:
        heals: whether there has to be a leader soon after it ended.
    """

    what: str
    since: int
    until: int | None = None
    heals: bool = True


@dataclass(frozen=True)
class Mark:
    """A fault that takes no time, such as a kill."""

    what: str
    at: int


@dataclass
class FaultLog:
    """The log of one election's faults."""

    faults: list[Fault] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    @contextmanager
    def fault(self, what: str, *, heals: bool = True) -> Iterator[Fault]:
        """Record a fault for the duration of the block."""
        fault = Fault(what, now(), heals=heals)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            fault.until = now()

    def mark(self, what: str) -> int:
        """Record a fault that takes no time; returns its time."""
        self.marks.append(Mark(what, now()))
        return self.marks[-1].at
