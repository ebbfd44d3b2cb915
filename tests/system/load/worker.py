"""Process with many candidates, one in each of several elections, on one or more open stores.

SIGTERM stops them all.
"""

from __future__ import annotations

import argparse
import gc
import signal
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

from leadership_core import Candidate, Follower, LeadershipError, Store, open_store
from tests.support.recording import now
from tests.system.load.recording import CrowdRecorder

__all__ = ["main"]


def main() -> None:
    """Run until SIGTERM, and end with 0 if everything was released."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("prefix")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--elections", type=int, required=True)
    parser.add_argument(
        "--candidates", type=int, default=0, help="as many as elections if not given"
    )
    parser.add_argument("--first", type=int, default=0, help="election of the first candidate")
    parser.add_argument("--on-one-store", type=int, default=0, help="all if not given")
    parser.add_argument("--ttl", type=float, required=True)
    parser.add_argument("--term", type=float, default=0.0, help="seconds until it resigns")
    parser.add_argument("--poll", type=float, default=0.02, help="seconds between two polls of all")
    parser.add_argument("--followers", action="store_true", help="in place of candidates")
    args = parser.parse_args()

    ends: SimpleQueue[int] = SimpleQueue()
    signal.signal(signal.SIGTERM, lambda number, _: ends.put(number))
    count = args.candidates or args.elections
    on_one = args.on_one_store or count
    numbers = [(args.first + place) % args.elections for place in range(count)]
    stores = [open_store(args.url) for _ in range(0, count, on_one)]
    if args.followers:
        recorder = CrowdRecorder(args.recording, args.elections)
        keys = [f"{args.prefix}/{number}" for number in numbers]
        _follow(stores, keys, on_one, recorder, ends)
    candidates = [
        Candidate(stores[place // on_one], f"{args.prefix}/{number}", f"{place}", ttl=args.ttl)
        for place, number in enumerate(numbers)
    ]
    crowd = _Crowd(candidates, numbers, CrowdRecorder(args.recording, args.elections), args.term)
    for candidate in candidates:
        candidate.run_for_election()
    gc.freeze()
    while ends.empty():
        crowd.poll()
        time.sleep(args.poll)
    closed: list[bool] = []
    closing = [
        threading.Thread(target=lambda store=store: closed.append(store.close(2 * args.ttl)))
        for store in stores
    ]
    for one in closing:
        one.start()
    while len(closed) < len(stores) and any(one.is_alive() for one in closing):
        crowd.poll()
        time.sleep(args.poll)
    crowd.poll()
    raise SystemExit(0 if all(closed) and len(closed) == len(stores) else 1)


def _follow(
    stores: list[Store],
    keys: list[str],
    on_one: int,
    recorder: CrowdRecorder,
    ends: SimpleQueue[int],
) -> NoReturn:
    """Follow all elections until SIGTERM, and end the process; those with a leader count as led."""
    followers = [Follower(stores[place // on_one], key) for place, key in enumerate(keys)]
    for follower in followers:
        follower.start()
    while ends.empty():
        recorder.count(handovers=0, leading=sum(one.leader is not None for one in followers))
        time.sleep(1.0)
    closed = [store.close(5.0) for store in stores]
    raise SystemExit(0 if all(closed) else 1)


class _Crowd:
    """The candidates of one process: polls them, and lets those resign that have led for long enough."""

    def __init__(
        self, candidates: list[Candidate], numbers: list[int], recorder: CrowdRecorder, term: float
    ) -> None:
        self._candidates, self._numbers, self._recorder = candidates, numbers, recorder
        self._term = int(term * 1e9)
        self._cooldown = min(0.5, term / 2)
        self._held: list[tuple[int, int] | None] = [None] * len(candidates)  # token, since when
        self._last = [0] * len(candidates)
        self._resigning: set[int] = set()
        self._resigned = 0  # written by the thread that resigns only
        self._due: SimpleQueue[int] = SimpleQueue()
        if term:
            threading.Thread(target=self._resign_those_due, daemon=True).start()

    def poll(self) -> None:
        """Read `is_leader` of all, and record each change."""
        for place, candidate in enumerate(self._candidates):
            before = now()
            leads = candidate.is_leader
            after = now()
            term = candidate.term if leads else None
            held = self._held[place]
            token = term.token if term is not None else held[0] if leads and held else None
            number = self._numbers[place]
            if held is not None and token != held[0]:
                self._recorder.ended(number, held[0], self._last[place])
                self._held[place] = held = None
            if token is not None:
                if held is None:
                    self._held[place] = held = (token, after)
                    self._recorder.began(number, token, after)
                self._last[place] = before
                self._recorder.beat(number, token, before)
                if self._term and after - held[1] >= self._term and place not in self._resigning:
                    self._resigning.add(place)
                    self._due.put(place)
        leading = sum(one is not None for one in self._held)
        self._recorder.count(handovers=self._resigned, leading=leading)

    def _resign_those_due(self) -> None:
        while True:
            place = self._due.get()
            try:
                done = self._candidates[place].resign(self._cooldown)
            except LeadershipError:
                return  # the store is being closed
            self._resigned += done
            self._resigning.discard(place)


if __name__ == "__main__":
    main()
