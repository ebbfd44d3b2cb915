"""One process that stands for election and writes down, in a loop, whether it leads.

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

from leadership_core import (
    Candidate,
    Elected,
    LeadershipError,
    Lost,
    StoreDown,
    StoreHandle,
    open_store,
)
from tests.mutants import elsewhere
from tests.scenarios.diary import Writer, now

__all__ = ["Looker", "Stage", "look", "main", "narrate"]


@dataclass(frozen=True)
class Stage:
    """What a worker that is odd in some way finds when its candidate is about to stand.

    Attributes:
        over: set when the candidate's story has ended.
    """

    store: StoreHandle
    candidate: Candidate
    writer: Writer
    over: threading.Event = field(default_factory=threading.Event)


def main(words: Sequence[str] | None = None, odd: Callable[[Stage], None] | None = None) -> None:
    """Run until a signal says stop, and end with 0 if everything was released.

    Args:
        words: of the command line.
        odd: makes it a worker that is odd in some way; called before its candidate stands.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("value")
    parser.add_argument("diary", type=Path)
    parser.add_argument("--ttl", type=float, required=True)
    parser.add_argument("--pause", type=float, required=True, help="seconds between two looks")
    parser.add_argument("--cooldown", type=float, default=0.5, help="seconds after SIGUSR1")
    args = parser.parse_args(words)

    errands: SimpleQueue[str] = SimpleQueue()
    for number, errand in [(signal.SIGTERM, "stop"), (signal.SIGINT, "stop")]:
        signal.signal(number, lambda *_, errand=errand: errands.put(errand))
    signal.signal(signal.SIGUSR1, lambda *_: errands.put("resign"))

    writer = Writer(args.diary)
    store = open_store(args.url)
    candidate = Candidate(store, args.key, args.value, ttl=args.ttl)
    stage = Stage(store, candidate, writer)
    over = stage.over
    released: list[bool] = []

    def listen() -> None:
        narrate(candidate, writer)
        over.set()

    def run_errands() -> None:
        while (errand := errands.get()) != "stop":
            writer.note(errand=errand, done=candidate.resign(args.cooldown))
        released.append(candidate.stop())
        writer.note(errand="stop", done=released[0])

    if odd is not None:
        odd(stage)
    threading.Thread(target=listen, daemon=True).start()
    errand_runner = threading.Thread(target=run_errands, daemon=True)
    errand_runner.start()
    look(candidate, writer, over, args.pause)
    errands.put("stop")
    errand_runner.join(args.ttl + 5)
    store.close(args.ttl)
    raise SystemExit(0 if released == [True] else 1)


def narrate(candidate: Candidate, writer: Writer) -> None:
    """Let it stand, and write down what it tells until it has stopped."""
    try:
        for event in candidate.events():
            match event:
                case Elected(term):
                    writer.note(event=event.name, token=term.token)
                case Lost(reason):
                    writer.note(event=event.name, reason=str(reason))
                case StoreDown(error):
                    writer.note(event=event.name, reason=str(error))
                case _:
                    writer.note(event=event.name)
    except LeadershipError as error:
        writer.note(error=type(error).__name__, says=str(error))


class Looker:
    """Looks whether a candidate leads, and writes down each change."""

    def __init__(self, candidate: Candidate, writer: Writer) -> None:
        self._candidate, self._writer = candidate, writer
        self._held: int | None = None
        self._last = 0  # when the last look that said yes began

    def look(self) -> bool:
        """Look once; says whether it leads."""
        before = now()
        leads = self._candidate.is_leader
        after = now()
        term = self._candidate.term if leads else None
        token = term.token if term is not None else self._held if leads else None
        if token != self._held:
            if self._held is not None:
                self._writer.note(at=self._last, believed=self._held, seen=after)
            if token is not None:
                self._writer.note(at=after, until=before, believes=token)
            self._held = token
        if token is not None:
            self._last = before
            self._writer.beat(token, before)
        return leads


def look(candidate: Candidate, writer: Writer, over: threading.Event, pause: float) -> None:
    """Look again and again, until its story has ended."""
    looker = Looker(candidate, writer)
    while True:
        leads = looker.look()
        if over.is_set() and not leads:
            return
        if pause:
            time.sleep(pause)


if __name__ == "__main__":
    with elsewhere.planted():
        main()
