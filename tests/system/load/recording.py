"""Recording of one process with many candidates: their terms, and a counter of hand-overs.

A line of the file is a term, "BEGAN key token since" and "ENDED key token until". All times are nanoseconds
of the boot clock. Beside it is a memory-mapped file that survives SIGKILL.
"""

from __future__ import annotations

import mmap
import struct
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from leadership_core.testing import LeadershipInterval

__all__ = ["CrowdRecorder", "campaigning_in", "handovers_of", "intervals_of", "leading_in"]

_HEAD = struct.Struct("qqq")  # hand-overs; how many lead; whether all campaign
_BEAT = struct.Struct("qq")  # for each candidate: the token of its term, and when it was last seen


class CrowdRecorder:
    """Writer of a recording.

    Args:
        file: the recording.
        count: how many candidates there are.
    """

    def __init__(self, file: Path, count: int) -> None:
        self._file = file.open("a", buffering=1)
        with _beats_of(file).open("wb+") as beats:
            beats.truncate(_HEAD.size + count * _BEAT.size)
            self._beats = mmap.mmap(beats.fileno(), 0)

    def began(self, number: int, token: int, since: int) -> None:
        self._file.write(f"BEGAN {number} {token} {since}\n")

    def ended(self, number: int, token: int, until: int) -> None:
        self._file.write(f"ENDED {number} {token} {until}\n")

    def beat(self, number: int, token: int, at: int) -> None:
        """Record that the candidate was leader at that time."""
        _BEAT.pack_into(self._beats, _HEAD.size + number * _BEAT.size, token, at)

    def count(self, *, handovers: int, leading: int) -> None:
        """Record how many terms were resigned from so far, and how many candidates lead now."""
        _HEAD.pack_into(self._beats, 0, handovers, leading, 1)


def handovers_of(file: Path) -> int:
    """How many terms the candidates of that recording have resigned from so far."""
    return _head(file)[0]


def leading_in(file: Path) -> int:
    """How many candidates of that recording lead now."""
    return _head(file)[1]


def campaigning_in(file: Path) -> bool:
    """Whether the candidates of that recording campaign."""
    return bool(_head(file)[2])


def _head(file: Path) -> tuple[int, int, int]:
    beats = _beats_of(file)
    if not beats.exists() or beats.stat().st_size < _HEAD.size:
        return 0, 0, 0
    with beats.open("rb") as opened:
        handovers, leading, campaigning = _HEAD.unpack(opened.read(_HEAD.size))
    return handovers, leading, campaigning


def intervals_of(files: Iterable[Path]) -> dict[int, list[LeadershipInterval]]:
    """The terms of each election by its number, in seconds; a term that goes on lasts until now."""
    found: dict[int, list[LeadershipInterval]] = defaultdict(list)
    for file in files:
        if not file.exists():
            continue
        beats = _beats_of(file).read_bytes()
        terms: dict[int, LeadershipInterval] = {}
        for line in file.read_text().splitlines():
            what, *words = line.split()
            number, token, at = map(int, words)
            if what == "BEGAN":
                terms[number] = LeadershipInterval(file.stem, token, at / 1e9, at / 1e9)
                found[number].append(terms[number])
            else:
                terms[number].until, terms[number].open = at / 1e9, False
        for number, term in terms.items():
            if term.open:
                token, at = _BEAT.unpack_from(beats, _HEAD.size + number * _BEAT.size)
                if token == term.token:
                    term.until = max(term.until, at / 1e9)
    return found


def _beats_of(file: Path) -> Path:
    return file.with_suffix(".beats")
