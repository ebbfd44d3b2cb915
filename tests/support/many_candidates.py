"""Many candidates in one process, each with a recording of its own. All start to campaign at SIGUSR2.

SIGTERM stops them all. `python -m tests.support.many_candidates URL KEY TTL COUNT DIARY`, where the recordings
are DIARY with a number at the end of their names.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

from leadership_core import Candidate, open_store
from tests.support.paths import python_path
from tests.support.recording import Recorder, Recording
from tests.support.servers.process import Process
from tests.support.worker import LeadershipPoller, record_events
from tests.support.workers import Fleet

__all__ = ["start_many_candidates"]

_ON_ONE_STORE = 5
"""Candidates that share an open store, and so what it may ask of the server for one election."""


def diary_of(first: Path, number: int) -> Path:
    """The path of the recording of the candidate with that number."""
    return first.with_name(f"{first.stem}-{number}.recording")


def start_many_candidates(
    fleet: Fleet, url: str, who: str, count: int
) -> tuple[Process, list[Recording]]:
    """Start such a process; returns it with the recordings of its candidates."""
    first = fleet.folder / f"{who}.recording"
    words = map(str, (url, fleet.key, fleet.ttl, count, first))
    process = Process(
        [sys.executable, "-m", "tests.support.many_candidates", *words],
        first.with_suffix(".log"),
        python_path(),
    )
    process.start()
    return process, [Recording(diary_of(first, n), f"{who}-{n}") for n in range(count)]


def main(url: str, key: str, ttl: str, count: str, recording: str) -> None:
    """Run until SIGTERM, and end with 0 if everything was released."""
    # A queue, because a signal handler may interrupt itself.
    begin: SimpleQueue[None] = SimpleQueue()
    ends: list[int] = []
    signal.signal(signal.SIGUSR2, lambda *_: begin.put(None))
    signal.signal(signal.SIGTERM, lambda number, _: ends.append(number))
    recorders = [Recorder(diary_of(Path(recording), number)) for number in range(int(count))]
    stores = [open_store(url) for _ in range(0, len(recorders), _ON_ONE_STORE)]
    many = [
        Candidate(stores[number // _ON_ONE_STORE], key, f"{number}", ttl=float(ttl))
        for number in range(len(recorders))
    ]
    for recorder in recorders:
        recorder.note(ready=True)
    begin.get()

    readers = [
        threading.Thread(target=record_events, args=pair, daemon=True)
        for pair in zip(many, recorders, strict=True)
    ]
    for reader in readers:
        reader.start()
    pollers = [LeadershipPoller(*pair) for pair in zip(many, recorders, strict=True)]
    _poll(pollers, lambda: bool(ends))
    closed: list[bool] = []
    closing = [
        threading.Thread(target=lambda store=store: closed.append(store.close(2 * float(ttl))))
        for store in stores
    ]
    for one in closing:
        one.start()
    _poll(pollers, lambda: len(closed) == len(stores))
    for one in (*closing, *readers):
        one.join(5)
    raise SystemExit(0 if all(closed) else 1)


def _poll(pollers: Sequence[LeadershipPoller], enough: Callable[[], bool]) -> None:
    """Poll all candidates repeatedly."""
    while not enough():
        for poller in pollers:
            poller.poll()
        time.sleep(0.002)


if __name__ == "__main__":
    main(*sys.argv[1:])
