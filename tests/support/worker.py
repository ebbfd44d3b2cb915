"""Program of a worker: one candidate, with a recording of its polls and events.

SIGTERM and SIGINT stop it, SIGUSR1 makes it resign.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from leadership_core import Candidate, Elected, LeadershipError, Lost, Store, StoreDown, open_store
from tests.mutation import subprocess_hook as elsewhere
from tests.support.recording import Recorder, now

__all__ = ["LeadershipPoller", "WorkerContext", "main", "poll_leadership", "record_events"]


@dataclass(frozen=True)
class WorkerContext:
    """The objects that a fault of the worker can use.

    Attributes:
        url: of the store.
        over: set when the candidate's events have ended.
    """

    store: Store
    candidate: Candidate
    recorder: Recorder
    url: str
    over: threading.Event = field(default_factory=threading.Event)


def main(
    words: Sequence[str] | None = None, faulty: Callable[[WorkerContext], None] | None = None
) -> None:
    """Run until a signal, and end with 0 if the release was confirmed.

    Args:
        words: of the command line.
        faulty: injects a fault; called before the candidate campaigns.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("value")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--ttl", type=float, required=True)
    parser.add_argument("--pause", type=float, required=True, help="seconds between two polls")
    parser.add_argument("--cooldown", type=float, default=0.5, help="seconds after SIGUSR1")
    args = parser.parse_args(words)

    errands: SimpleQueue[str] = SimpleQueue()
    for number, errand in [(signal.SIGTERM, "stop"), (signal.SIGINT, "stop")]:
        signal.signal(number, lambda *_, errand=errand: errands.put(errand))
    signal.signal(signal.SIGUSR1, lambda *_: errands.put("resign"))

    recorder = Recorder(args.recording)
    store = open_store(args.url)
    candidate = Candidate(store, args.key, args.value, ttl=args.ttl)
    context = WorkerContext(store, candidate, recorder, args.url)
    over = context.over
    released: list[bool] = []

    def listen() -> None:
        record_events(candidate, recorder)
        over.set()

    def run_errands() -> None:
        while (errand := errands.get()) != "stop":
            recorder.note(errand=errand, done=candidate.resign(args.cooldown))
        released.append(candidate.stop())
        recorder.note(errand="stop", done=released[0])

    if faulty is not None:
        faulty(context)
    threading.Thread(target=listen, daemon=True).start()
    errand_runner = threading.Thread(target=run_errands, daemon=True)
    errand_runner.start()
    poll_leadership(candidate, recorder, over, args.pause)
    errands.put("stop")
    errand_runner.join(args.ttl + 5)
    store.close(args.ttl)
    raise SystemExit(0 if released == [True] else 1)


def record_events(candidate: Candidate, recorder: Recorder) -> None:
    """Start the candidate, and record its events until it has stopped."""
    try:
        for event in candidate.events():
            match event:
                case Elected(term):
                    recorder.note(event=event.name, token=term.token)
                case Lost(reason):
                    recorder.note(event=event.name, reason=str(reason))
                case StoreDown(error):
                    recorder.note(event=event.name, reason=str(error))
                case _:
                    recorder.note(event=event.name)
    except LeadershipError as error:
        recorder.note(error=type(error).__name__, says=str(error))


class LeadershipPoller:
    """Polls whether a candidate leads, and records each change."""

    def __init__(self, candidate: Candidate, recorder: Recorder) -> None:
        self._candidate, self._writer = candidate, recorder
        self._held: int | None = None
        self._last = 0  # when the last poll that found it leader began

    def poll(self) -> bool:
        """Read `is_leader` once, record it, and return it."""
        before = now()
        leads = self._candidate.is_leader
        after = now()
        term = self._candidate.term if leads else None
        token = term.token if term is not None else self._held if leads else None
        if token != self._held:
            if self._held is not None:
                self._writer.note(at=self._last, interval_ended=self._held, seen=after)
            if token is not None:
                self._writer.note(at=after, until=before, interval_began=token)
            self._held = token
        if token is not None:
            self._last = before
            self._writer.beat(token, before)
        return leads


def poll_leadership(
    candidate: Candidate, recorder: Recorder, over: threading.Event, pause: float
) -> None:
    """Poll repeatedly, until the candidate's events have ended."""
    poller = LeadershipPoller(candidate, recorder)
    while True:
        leads = poller.poll()
        if over.is_set() and not leads:
            return
        if pause:
            time.sleep(pause)


if __name__ == "__main__":
    with elsewhere.planted():
        main()
