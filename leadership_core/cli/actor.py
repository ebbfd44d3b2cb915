"""One candidate in a process of its own: it stands, and watches its own belief.

It writes one JSON object a line: the events of `leadership elect --json`, and what it saw when
it read `is_leader`, about a thousand times a second:

    {"believes": 3, "at": ...}                        it is leader, with the token 3
    {"believed": 3, "first": ..., "last": ..., "readings": ...}      it was
    {"woke": 5.1, "is_leader": false, "at": ...}      the first look after a pause of 5.1 s

`at`, `first` and `last` are times of the machine's boot clock, which all processes share.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable

from .. import clock
from ..candidate import Candidate
from ..handle import open_store
from . import logs
from .arguments import ENVIRONMENT_URL
from .elect import Controls, EventPrinter

__all__ = ["main"]

_LOOK_SECONDS = 0.001
_END_SECONDS = 15.0  # to stop in order; a release waits for the store, and that has limits
_PAUSE_SECONDS = 0.5  # a longer silence of one's own is a pause


class _Belief:
    """Reads `is_leader` for as long as it is entered."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._token: int | None = None
        self._first = self._last = 0.0
        self._readings = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leadership-look", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._saw(None, 0.0, 0.0)

    def _run(self) -> None:
        looked = clock.now()
        while not self._ended.wait(_LOOK_SECONDS):
            before = clock.now()
            leads, term = self._candidate.is_leader, self._candidate.term
            after = clock.now()
            if after - before > _PAUSE_SECONDS:
                continue  # paused between the two: this may have been seen before the pause
            if before - looked > _PAUSE_SECONDS:
                _say(woke=before - looked, is_leader=leads, at=after)
            looked = after
            self._saw(term.token if leads and term is not None else None, before, after)

    def _saw(self, token: int | None, before: float, after: float) -> None:
        # It is certain only that it believed at some time between the two readings of the clock.
        if token != self._token:
            if self._token is not None:
                _say(
                    believed=self._token,
                    first=self._first,
                    last=self._last,
                    readings=self._readings,
                )
            if token is not None:
                _say(believes=token, at=after)
            self._token, self._first, self._readings = token, after, 0
        self._last = before
        self._readings += 1


def _say(**fields: object) -> None:
    # One write, so that the lines of two threads do not mix.
    os.write(1, json.dumps(fields).encode() + b"\n")


def _when_alone(stop: Callable[[], object]) -> None:
    """Stop when the process that has started this one has gone, however it ended."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        stop()
        time.sleep(_END_SECONDS)
        os._exit(1)  # no process is left that would kill this one

    threading.Thread(target=watch, name="leadership-parent", daemon=True).start()


def main(key: str, name: str, ttl: str) -> None:
    """Stand in the election of the store in the environment until the parent ends, or a signal."""
    logs.configure(verbose=False)
    store = open_store(os.environ[ENVIRONMENT_URL])
    candidate = Candidate(store, key, name, ttl=float(ttl))
    printer = EventPrinter(candidate, as_json=True)
    _when_alone(lambda: candidate.stop(0))
    with Controls(candidate).signals(), store, _Belief(candidate):
        for event in candidate.events():
            _say(**printer.record(event), at=clock.now())
