"""Log of the children of `leadership run`, and the verdict on it: one term at a time."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from leadership_core.backend import clock

__all__ = [
    "Lifetime",
    "assert_one_term_at_a_time",
    "kill_survivors",
    "lifetimes",
    "overlaps",
    "survivors",
]


@dataclass(frozen=True)
class Lifetime:
    """When processes of one term were surely alive.

    Attributes:
        token: of the term.
        pids: of the processes.
        first: the boot clock's time of their first line, in seconds.
        last: and of their last.
    """

    token: int
    pids: frozenset[int]
    first: float
    last: float

    @property
    def seconds_since_last(self) -> float:
        """How long ago the last line was written."""
        return clock.now() - self.last


def lifetimes(log: Path) -> list[Lifetime]:
    """Return the lifetime of each term in the log, in the order of their tokens."""
    found: dict[int, tuple[set[int], list[int]]] = {}
    text = log.read_text() if log.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        token, pid, at = map(int, line.split())
        pids, times = found.setdefault(token, (set(), [at, at]))
        pids.add(pid)
        times[:] = [min(times[0], at), max(times[1], at)]
    return [
        Lifetime(token, frozenset(pids), times[0] / 1e9, times[1] / 1e9)
        for token, (pids, times) in sorted(found.items())
    ]


def overlaps(lives: list[Lifetime]) -> list[tuple[Lifetime, Lifetime]]:
    """Return the pairs of terms whose children were alive at one time, or began in the wrong order."""
    return [(one, next_) for one, next_ in itertools.pairwise(lives) if one.last >= next_.first]


def assert_one_term_at_a_time(log: Path, *, terms: int = 1) -> list[Lifetime]:
    """Fail if children of two terms were alive at one time; return the lifetimes.

    Args:
        log: the log of all children of the election.
        terms: how many terms it must have at least: an empty log proves nothing.
    """
    lives = lifetimes(log)
    assert len(lives) >= terms, f"{len(lives)} terms had a child, {terms} were expected: {lives}"
    assert overlaps(lives) == []
    return lives


def survivors(log: Path) -> dict[int, str]:
    """Return the processes that still run the program with this log, with their states."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if words[4:5] == [str(log).encode()]:
                found[int(folder.name)] = state
    return found


def kill_survivors(log: Path) -> None:
    """Kill these processes."""
    for pid in survivors(log):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
