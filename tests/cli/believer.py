"""A candidate that reads its own `is_leader` in a tight loop, and says for which times it saw True.

    python believer.py URL KEY VALUE TTL

One JSON object a line: the events, and {"event": "believed", "token", "first", "last"} with times
of the boot clock, which all processes of the machine share; between those two it read True.
After a silence of its own it says {"event": "woke", "is_leader"}: its first reading.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

from leadership_core import Candidate, Elected, open_store

_now = time.CLOCK_BOOTTIME


def say(event: str, **facts: object) -> None:
    os.write(1, json.dumps({"event": event, **facts}).encode() + b"\n")


def read_belief(candidate: Candidate, ended: threading.Event) -> None:
    token, first, last = None, 0.0, 0.0
    looked = time.clock_gettime(_now)
    while not ended.is_set():
        before = time.clock_gettime(_now)
        leads = candidate.is_leader
        after = time.clock_gettime(_now)
        if after - before > 0.3:
            continue  # stopped between the two: seen before that, or after, nobody knows
        if before - looked > 0.3:
            say("woke", is_leader=leads)
        looked = after
        if leads and token is None:
            term = candidate.term
            token, first = (term.token if term else 0), after
        if not leads and token is not None:
            say("believed", token=token, first=first, last=last)
            token = None
        last = before
    if token is not None:
        say("believed", token=token, first=first, last=last)


def main() -> None:
    url, key, value, ttl = sys.argv[1:]
    ended = threading.Event()
    with open_store(url) as store:
        candidate = Candidate(store, key, value, ttl=float(ttl))
        signal.signal(
            signal.SIGTERM, lambda *_: threading.Thread(target=candidate.stop, daemon=True).start()
        )
        reader = threading.Thread(target=read_belief, args=(candidate, ended))
        reader.start()
        for event in candidate.events():
            say(event.name, token=event.term.token if isinstance(event, Elected) else None)
        ended.set()
        reader.join()


if __name__ == "__main__":
    main()
