"""What a worker has written down of itself: its beliefs, read in a loop, and its events.

All times are nanoseconds of the boot clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Belief", "Diary", "Note", "Writer", "now"]

_BEAT = struct.Struct("qq")


def now() -> int:
    """The time, as all diaries have it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Note:
    """An event of a candidate: `name` in snake case, token and reason where there is one."""

    at: int
    name: str
    token: int | None = None
    reason: str | None = None


@dataclass(slots=True)
class Belief:
    """A time for which a process surely believed to lead.

    `since` is after the first look that said so and `until` before the last one, so two beliefs
    that overlap here did overlap, whatever the machine did to the processes meanwhile.
    """

    who: str
    token: int
    since: int
    until: int
    open: bool = True


class Writer:
    """Writes a diary. What it has written survives a SIGKILL.

    Args:
        file: the diary; beside it, the time of the last look that said "I lead" is kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with _beat_of(file).open("wb+") as beat:
            beat.truncate(_BEAT.size)
            self._beat = mmap.mmap(beat.fileno(), _BEAT.size)

    def note(self, **said: Any) -> None:
        """Append one line, with the time unless it has one; from any thread."""
        os.write(self._file, json.dumps({"at": now(), **said}).encode() + b"\n")

    def beat(self, token: int, at: int) -> None:
        """At that time it led."""
        _BEAT.pack_into(self._beat, 0, token, at)


@dataclass
class Diary:
    """What one process has written so far; `read` takes in what is new."""

    file: Path
    who: str
    notes: list[Note] = field(default_factory=list)
    beliefs: list[Belief] = field(default_factory=list)
    remarks: list[dict[str, Any]] = field(default_factory=list)
    _offset: int = 0

    def read(self) -> Diary:
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    self._take(json.loads(line))
        if self.beliefs and self.beliefs[-1].open:
            token, at = _BEAT.unpack(_beat_of(self.file).read_bytes())
            if token == self.beliefs[-1].token:
                self.beliefs[-1].until = max(self.beliefs[-1].until, at)
        return self

    @property
    def belief(self) -> Belief | None:
        """The present one, if any, as of the last `read`."""
        return self.beliefs[-1] if self.beliefs and self.beliefs[-1].open else None

    def names(self) -> list[str]:
        """The names of all events so far."""
        return [note.name for note in self.read().notes]

    def _take(self, line: dict[str, Any]) -> None:
        match line:
            case {"event": name}:
                self.notes.append(Note(line["at"], name, line.get("token"), line.get("reason")))
            case {"believes": token}:
                self.beliefs.append(Belief(self.who, token, line["at"], line["until"]))
            case {"believed": _}:
                self.beliefs[-1].until, self.beliefs[-1].open = line["at"], False
            case _:
                self.remarks.append(line)


def _beat_of(file: Path) -> Path:
    return file.with_suffix(".beat")
