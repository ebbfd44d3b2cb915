"""One process that stands for election and writes down, in a loop, whether it leads.

SIGTERM and SIGINT stop it, SIGUSR1 makes it resign.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from pathlib import Path
from queue import SimpleQueue

from leadership_core import Candidate, Elected, LeadershipError, Lost, StoreDown, open_store
from tests.scenarios.diary import Writer, now


def main() -> None:
    """Run until a signal says stop, and end with 0 if everything was released."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("value")
    parser.add_argument("diary", type=Path)
    parser.add_argument("--ttl", type=float, required=True)
    parser.add_argument("--pause", type=float, required=True, help="seconds between two looks")
    parser.add_argument("--cooldown", type=float, default=0.5, help="seconds after SIGUSR1")
    args = parser.parse_args()

    errands: SimpleQueue[str] = SimpleQueue()
    for number, errand in [(signal.SIGTERM, "stop"), (signal.SIGINT, "stop")]:
        signal.signal(number, lambda *_, errand=errand: errands.put(errand))
    signal.signal(signal.SIGUSR1, lambda *_: errands.put("resign"))

    writer = Writer(args.diary)
    store = open_store(args.url)
    candidate = Candidate(store, args.key, args.value, ttl=args.ttl)
    over = threading.Event()
    released: list[bool] = []

    def narrate() -> None:
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
        over.set()

    def run_errands() -> None:
        while (errand := errands.get()) != "stop":
            writer.note(errand=errand, done=candidate.resign(args.cooldown))
        released.append(candidate.stop())
        writer.note(errand="stop", done=released[0])

    threading.Thread(target=narrate, daemon=True).start()
    errand_runner = threading.Thread(target=run_errands, daemon=True)
    errand_runner.start()
    look(candidate, writer, over, args.pause)
    errands.put("stop")
    errand_runner.join(args.ttl + 5)
    store.close(args.ttl)
    raise SystemExit(0 if released == [True] else 1)


def look(candidate: Candidate, writer: Writer, over: threading.Event, pause: float) -> None:
    """Look whether it leads, again and again, and write down each change."""
    held: int | None = None
    last = 0  # when the last look that said yes began
    while True:
        before = now()
        leads = candidate.is_leader
        after = now()
        term = candidate.term if leads else None
        token = term.token if term is not None else held if leads else None
        if token != held:
            if held is not None:
                writer.note(at=last, believed=held, seen=after)
            if token is not None:
                writer.note(at=after, until=before, believes=token)
            held = token
        if token is not None:
            last = before
            writer.beat(token, before)
        if over.is_set() and not leads:
            return
        if pause:
            time.sleep(pause)


if __name__ == "__main__":
    main()
