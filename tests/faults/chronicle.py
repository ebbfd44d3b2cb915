"""What the lab did to an election, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.scenarios.diary import now

__all__ = ["Chronicle", "Fault", "Mark"]


@dataclass
class Fault:
    """Something was wrong; times are nanoseconds of the boot clock.

    Attributes:
        heals: whether there has to be a leader soon after it ended.
    """

    what: str
    since: int
    until: int | None = None
    heals: bool = True


@dataclass(frozen=True)
class Mark:
    """Something that happened at once."""

    what: str
    at: int


@dataclass
class Chronicle:
    """Of one election."""

    faults: list[Fault] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    @contextmanager
    def fault(self, what: str, *, heals: bool = True) -> Iterator[Fault]:
        """While this lasts, something is wrong."""
        fault = Fault(what, now(), heals=heals)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            fault.until = now()

    def mark(self, what: str) -> int:
        """Something has just happened; returns when."""
        self.marks.append(Mark(what, now()))
        return self.marks[-1].at
