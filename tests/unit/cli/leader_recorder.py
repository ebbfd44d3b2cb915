"""A candidate that reads its own `is_leader` without a break while it leads, and prints when it did.

    python leader_recorder.py URL KEY VALUE TTL

It prints one JSON object a line: the events; {"event": "leading", "token"} when it first reads True in a
term; and {"event": "led", "token", "first", "last"} when it no longer does, with times of the boot
clock, which all processes of the machine share: between those two it read True. After a pause of its
process it prints its first reading: {"event": "woke", "seconds", "is_leader"}.
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


def print_event(event: str, **facts: object) -> None:
    os.write(1, json.dumps({"event": event, **facts}).encode() + b"\n")


def read_leadership(candidate: Candidate, ended: threading.Event) -> None:
    token, first, last = None, 0.0, 0.0
    previous = time.clock_gettime(_now)
    while not ended.is_set():
        term = candidate.term
        before = time.clock_gettime(_now)
        leads = candidate.is_leader
        after = time.clock_gettime(_now)
        if after - before > 0.3:
            continue  # paused between the two: the reading may be from before the pause
        if before - previous > 0.3:
            print_event("woke", seconds=before - previous, is_leader=leads)
        previous = after
        if leads and (term is None or term != candidate.term):
            continue  # between two terms: it is not known to which one the reading belongs
        if token is not None and not (leads and term and term.token == token):
            print_event("led", token=token, first=first, last=last)
            token = None
        if leads and term and token is None:
            token, first = term.token, after
            print_event("leading", token=token)
        last = before
        if token is None:
            time.sleep(0.001)  # leave the processors to the leader
    if token is not None:
        print_event("led", token=token, first=first, last=last)


def main() -> None:
    url, key, value, ttl = sys.argv[1:]
    ended = threading.Event()
    with open_store(url) as store:
        candidate = Candidate(store, key, value, ttl=float(ttl))
        signal.signal(
            signal.SIGTERM, lambda *_: threading.Thread(target=candidate.stop, daemon=True).start()
        )
        reader = threading.Thread(target=read_leadership, args=(candidate, ended))
        reader.start()
        for event in candidate.events():
            print_event(event.name, token=event.term.token if isinstance(event, Elected) else None)
        ended.set()
        reader.join()


if __name__ == "__main__":
    main()
