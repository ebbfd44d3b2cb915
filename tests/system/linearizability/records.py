"""Recording of operations: one record at the call, one at the return."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leadership_core.backend.entries import Entry

__all__ = ["Record", "Recorder", "described", "folder_of_now", "now", "read_records"]

EPOCH = 6_000_000_000  # nanoseconds for which a folder of keys is in use

Record = dict[str, Any]
"""One operation: what was asked, ``call`` and ``return``, and ``outcome`` if there was one."""


def now() -> int:
    """Nanoseconds of the boot clock, which is the same in all processes of a machine."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def folder_of_now() -> str:
    """The folder of the keys that are used in these seconds."""
    return f"h/{now() // EPOCH}"


def described(entry: Entry) -> Record:
    """An entry in the format of the judge."""
    value = entry.value.decode()
    return {"value": value, "revision": entry.revision, "session": entry.session or ""}


class Recorder:
    """Writes a recording that is complete even after a SIGKILL; thread-safe."""

    def __init__(self, file: Path, who: str) -> None:
        self.who = who
        self._numbers = itertools.count(1)
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def call(self, op: str, key: str, **what: Any) -> int:
        """Record a call, before it is made."""
        number = next(self._numbers)
        self._write({"id": number, "who": self.who, "op": op, "key": key, **what, "call": now()})
        return number

    def returned(self, number: int, outcome: str, **what: Any) -> None:
        """Record the outcome of a call."""
        self._write({"id": number, "return": now(), "outcome": outcome, **what})

    def note(self, op: str, key: str, **what: Any) -> None:
        """Record an operation without an answer."""
        self.call(op, key, **what)

    def _write(self, line: Record) -> None:
        # One write for a line: another thread's does not come in between.
        os.write(self._file, json.dumps(line).encode() + b"\n")


def read_records(folder: Path) -> list[Record]:
    """Read all recordings; an operation without an answer has ``return`` 0."""
    found: list[Record] = []
    for file in sorted(folder.glob("*.jsonl")):
        by_id: dict[int, Record] = {}
        for line in _lines(file):
            if "call" in line:
                by_id[line["id"]] = {"return": 0, "outcome": "", **line}
            else:
                by_id[line["id"]] |= line
        found += by_id.values()
    return found


def _lines(file: Path) -> Iterator[Record]:
    for text in file.read_text().splitlines():
        try:
            yield json.loads(text)
        except json.JSONDecodeError:  # its process was killed over it
            continue
