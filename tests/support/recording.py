"""Recording of a candidate: the intervals in which it was leader, polled in a loop, and its events.

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

__all__ = ["Interval", "RecordedEvent", "Recorder", "Recording", "now"]

_BEAT = struct.Struct("qq")


def now() -> int:
    """The time in recordings."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event of a candidate: `name` in snake case, token and reason where there is one."""

    at: int
    name: str
    token: int | None = None
    reason: str | None = None


@dataclass(slots=True)
class Interval:
    """A time in which a process was certainly leader.

    `since` is after the first poll that found it leader and `until` before the last one, so two intervals
    that overlap here did overlap, whatever the machine did to the processes meanwhile.
    """

    who: str
    token: int
    since: int
    until: int
    open: bool = True


class Recorder:
    """Writer of a recording; what it has written survives a SIGKILL.

    Args:
        file: the recording; beside it, the time of the last poll that found it leader is kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with _beat_of(file).open("wb+") as beat:
            beat.truncate(_BEAT.size)
            self._beat = mmap.mmap(beat.fileno(), _BEAT.size)

    def note(self, **said: Any) -> None:
        """Append one line, with the present time unless it has one; thread-safe."""
        os.write(self._file, json.dumps({"at": now(), **said}).encode() + b"\n")

    def beat(self, token: int, at: int) -> None:
        """Record that the candidate was leader at that time."""
        _BEAT.pack_into(self._beat, 0, token, at)


@dataclass
class Recording:
    """The recording of one process; `read` reads what was added."""

    file: Path
    who: str
    events: list[RecordedEvent] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    remarks: list[dict[str, Any]] = field(default_factory=list)
    _offset: int = 0

    def read(self) -> Recording:
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    self._take(json.loads(line))
        if self.intervals and self.intervals[-1].open:
            token, at = _BEAT.unpack(_beat_of(self.file).read_bytes())
            if token == self.intervals[-1].token:
                self.intervals[-1].until = max(self.intervals[-1].until, at)
        return self

    @property
    def interval(self) -> Interval | None:
        """The interval that has not ended, as of the last `read`."""
        return self.intervals[-1] if self.intervals and self.intervals[-1].open else None

    def names(self) -> list[str]:
        """The names of all events until the last `read`."""
        return [note.name for note in self.read().events]

    def _take(self, line: dict[str, Any]) -> None:
        match line:
            case {"event": name}:
                self.events.append(
                    RecordedEvent(line["at"], name, line.get("token"), line.get("reason"))
                )
            case {"interval_began": token}:
                self.intervals.append(Interval(self.who, token, line["at"], line["until"]))
            case {"interval_ended": _}:
                self.intervals[-1].until, self.intervals[-1].open = line["at"], False
            case _:
                self.remarks.append(line)


def _beat_of(file: Path) -> Path:
    return file.with_suffix(".beat")
