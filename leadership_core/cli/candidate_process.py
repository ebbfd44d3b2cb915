"""Program of a candidate process: campaigns, and records when it reads that it is leader.

It prints one JSON object a line: the events of `leadership elect --json`, and what it found when
it read `is_leader`, about a thousand times a second:

    {"leads": 3, "at": ...}                           it is leader, with the token 3
    {"led": 3, "first": ..., "last": ..., "readings": ...}           it was leader
    {"woke": 5.1, "is_leader": false, "at": ...}      the first reading after a pause of 5.1 s

`at`, `first` and `last` are times of the machine's boot clock, which all processes share.
"""

from __future__ import annotations

import json
import os
import threading
import time

from ..backend import clock
from ..candidate import Candidate
from ..store import open_store
from .command import ENVIRONMENT_URL
from .elect import EventPrinter, SignalHandlers
from .logs import configure_logging

__all__ = ["main"]

_READ_INTERVAL = 0.001  # seconds
_STOP_SECONDS = 15.0  # for an orderly stop: a release waits for the store, which has its own limits
_PAUSE_SECONDS = 0.5  # a longer gap between two readings is a pause of the process


class _LeadershipReader:
    """Reads `is_leader` while it is entered."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._token: int | None = None
        self._first = self._last = 0.0
        self._readings = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leadership-reader", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._record(None, 0.0, 0.0)

    def _run(self) -> None:
        previous = clock.now()
        while not self._ended.wait(_READ_INTERVAL):
            before = clock.now()
            leads, term = self._candidate.is_leader, self._candidate.term
            after = clock.now()
            if after - before > _PAUSE_SECONDS:
                continue  # paused between the two: the reading may be from before the pause
            if before - previous > _PAUSE_SECONDS:
                _print(woke=before - previous, is_leader=leads, at=after)
            previous = after
            self._record(term.token if leads and term is not None else None, before, after)

    def _record(self, token: int | None, before: float, after: float) -> None:
        # It surely was leader only at some time between the two readings of the clock.
        if token != self._token:
            if self._token is not None:
                _print(led=self._token, first=self._first, last=self._last, readings=self._readings)
            if token is not None:
                _print(leads=token, at=after)
            self._token, self._first, self._readings = token, after, 0
        self._last = before
        self._readings += 1


def _print(**fields: object) -> None:
    # One write, so that the lines of two threads do not mix.
    os.write(1, json.dumps(fields).encode() + b"\n")


def main(key: str, name: str, ttl: str) -> None:
    """Campaign on the store in the environment until the parent process ends, or a signal comes."""
    configure_logging(verbose=False)
    store = open_store(os.environ[ENVIRONMENT_URL])
    candidate = Candidate(store, key, name, ttl=float(ttl))
    printer = EventPrinter(candidate, as_json=True)

    def stop_with_parent() -> None:
        while os.read(0, 1):  # ends when the parent has gone, however it ended
            pass
        candidate.stop(0)
        time.sleep(_STOP_SECONDS)  # the stop goes on in the main thread meanwhile
        os._exit(1)  # no process is left that would kill this one

    threading.Thread(target=stop_with_parent, name="leadership-parent", daemon=True).start()
    with SignalHandlers(candidate).signals(), store, _LeadershipReader(candidate):
        for event in candidate.events():
            _print(**printer.record(event), at=clock.now())
