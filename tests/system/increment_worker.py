"""Program of one candidate that increments a counter in the store while it leads.

It reads, checks whether it leads, and writes: without a fence, or with the token of its term.
Between the check and the write it can be held (see `HOLD`).
SIGTERM stops it.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from pathlib import Path

from leadership_core import Candidate, Fenced, LeadershipError, NotElected, StoreUnavailable, Term
from leadership_core.errors import NotApplied
from tests.support.recording import Recorder
from tests.system.counters import GUARDS, Counter, counter_in, open_any

__all__ = ["HOLD"]

HOLD = ".hold"
"""The ending of a file beside the recording: while it exists, the worker waits between its check and its write."""


class Incrementer:
    """Increments the counter, and records each attempt before and after it.

    Args:
        counter: what it increments.
        recording: where to write it down.
        gap: seconds between the look and the write, at least.
    """

    def __init__(self, counter: Counter, recording: Path, gap: float) -> None:
        self._counter, self._gap = counter, gap
        self._writer = Recorder(recording)
        self._hold = recording.with_suffix(HOLD)

    def note(self, step: str, value: int = 0, token: int = 0) -> None:
        """Record a step of an attempt."""
        self._writer.note(step=step, value=value, token=token)

    def increment(self, term: Term) -> bool:
        """Try once; returns False if the outcome is unknown.

        The term is from before the read. One from after it would let through what was read
        before a pause in which others led.
        """
        try:
            value = self._counter.read(term) + 1
        except (StoreUnavailable, Fenced):
            return True  # no increment was asked for
        self.note("asked", value, term.token)
        if term.lost:
            self.note("left", value, term.token)
            return True
        self._stand_in_the_gap(value, term.token)
        outcome = self._write(value, term)
        self.note(outcome, value, term.token)
        return outcome != "unknown"

    def _stand_in_the_gap(self, value: int, token: int) -> None:
        time.sleep(self._gap)
        if self._hold.exists():
            self.note("held", value, token)
            while self._hold.exists():
                time.sleep(0.001)

    def _write(self, value: int, term: Term) -> str:
        try:
            self._counter.write(value, term)
        except Fenced:
            return "refused"
        except NotApplied:
            return "failed"
        except StoreUnavailable:
            return "unknown"
        return "done"


def main() -> None:
    """Run until a signal, and end with 0 if the release was confirmed."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.increment_worker")
    parser.add_argument("url")
    parser.add_argument("key", help="of the election")
    parser.add_argument("counter", help="its key")
    parser.add_argument("who")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--guard", choices=GUARDS, required=True)
    parser.add_argument("--ttl", type=float, required=True)
    parser.add_argument("--gap", type=float, default=0.001, help="seconds from look to write")
    parser.add_argument("--rest", type=float, default=0.002, help="seconds between increments")
    args = parser.parse_args()

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    with open_any(args.url) as store:
        counter = counter_in(store, args.counter, args.guard)
        incrementer = Incrementer(counter, args.recording, args.gap)
        candidate = Candidate(store, args.key, args.who, ttl=args.ttl)
        candidate.run_for_election()
        incrementer.note("ready")
        while not stopping.is_set():
            try:
                term = candidate.wait_elected(0.1)
            except NotElected:  # the store does not answer
                continue
            if term is None:
                continue
            if not incrementer.increment(term):
                # What was sent may still arrive. A fence keeps it from the terms that follow, and
                # only from those: going on in this one, it might write over what comes now.
                candidate.resign(0.1)
            stopping.wait(args.rest)
        try:
            released = candidate.stop(5)
        except LeadershipError:
            released = False
    raise SystemExit(0 if released else 1)


if __name__ == "__main__":
    main()
