"""Many candidates in one process, each with a diary of its own. They all stand at SIGUSR2.

SIGTERM stops them all. `python -m tests.faults.crowd URL KEY TTL COUNT DIARY`, where the diaries
are DIARY with a number at the end of their names.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

from leadership_core import Candidate, open_store
from tests.scenarios.diary import Diary, Writer
from tests.scenarios.fleet import ROOT, Fleet
from tests.scenarios.worker import Looker, narrate
from tests.servers.process import Process

__all__ = ["start_crowd"]

_ON_ONE_STORE = 5
"""Candidates that share an open store, and so what it may ask of the server for one election."""


def diary_of(first: Path, number: int) -> Path:
    """The diary of the candidate with that number."""
    return first.with_name(f"{first.stem}-{number}.diary")


def start_crowd(fleet: Fleet, url: str, who: str, count: int) -> tuple[Process, list[Diary]]:
    """Start one, in a process of its own; returns the diaries of its candidates, too."""
    first = fleet.folder / f"{who}.diary"
    words = map(str, (url, fleet.key, fleet.ttl, count, first))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    process = Process(
        [sys.executable, "-m", "tests.faults.crowd", *words],
        first.with_suffix(".log"),
        {"PYTHONPATH": path},
    )
    process.start()
    return process, [Diary(diary_of(first, n), f"{who}-{n}") for n in range(count)]


def main(url: str, key: str, ttl: str, count: str, diary: str) -> None:
    """Run until SIGTERM, and end with 0 if everything was released."""
    # No events: each candidate is told, and a handler may interrupt itself.
    begin: SimpleQueue[None] = SimpleQueue()
    ends: list[int] = []
    signal.signal(signal.SIGUSR2, lambda *_: begin.put(None))
    signal.signal(signal.SIGTERM, lambda number, _: ends.append(number))
    writers = [Writer(diary_of(Path(diary), number)) for number in range(int(count))]
    stores = [open_store(url) for _ in range(0, len(writers), _ON_ONE_STORE)]
    crowd = [
        Candidate(stores[number // _ON_ONE_STORE], key, f"{number}", ttl=float(ttl))
        for number in range(len(writers))
    ]
    for writer in writers:
        writer.note(ready=True)
    begin.get()

    readers = [
        threading.Thread(target=narrate, args=pair, daemon=True)
        for pair in zip(crowd, writers, strict=True)
    ]
    for reader in readers:
        reader.start()
    lookers = [Looker(*pair) for pair in zip(crowd, writers, strict=True)]
    _look(lookers, lambda: bool(ends))
    closed: list[bool] = []
    closing = [
        threading.Thread(target=lambda store=store: closed.append(store.close(2 * float(ttl))))
        for store in stores
    ]
    for one in closing:
        one.start()
    _look(lookers, lambda: len(closed) == len(stores))
    for one in (*closing, *readers):
        one.join(5)
    raise SystemExit(0 if all(closed) else 1)


def _look(lookers: Sequence[Looker], enough: Callable[[], bool]) -> None:
    """Let all look, again and again."""
    while not enough():
        for looker in lookers:
            looker.look()
        time.sleep(0.002)


if __name__ == "__main__":
    main(*sys.argv[1:])
