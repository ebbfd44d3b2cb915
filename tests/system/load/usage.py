"""Samples of what a process uses: memory, threads, descriptors and processor time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

__all__ = ["Usage", "growth", "usage_of"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process uses at one moment.

    Attributes:
        memory: resident, in bytes.
        threads: how many.
        descriptors: how many; -1 where they cannot be read.
        cpu: seconds of processor time since its start.
    """

    memory: int
    threads: int
    descriptors: int
    cpu: float


def usage_of(pid: int) -> Usage | None:
    """What a process uses now; None if it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        words = (folder / "stat").read_text().rpartition(")")[2].split()
        pages = int((folder / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    try:
        descriptors = len(os.listdir(folder / "fd"))  # noqa: PTH208 - a count, without a path for each
    except OSError:
        descriptors = -1
    cpu = (int(words[11]) + int(words[12])) / _TICKS
    return Usage(pages * _PAGE, int(words[17]), descriptors, cpu)


def growth(values: Sequence[float]) -> float:
    """By how much a series has grown: the median of its last fifth, less that of its second fifth.

    The first fifth is the start, in which caches fill and threads begin.
    """
    fifth = max(1, len(values) // 5)
    return median(values[-fifth:]) - median(values[fifth : 2 * fifth] or values[:1])
