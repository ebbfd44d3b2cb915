"""What `consul lock` runs while it holds the lock: it believes, and writes that down."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.request
from pathlib import Path

from tests.scenarios.diary import Writer, now


def main(diary: str, entry: str) -> None:
    """Believe until SIGTERM; the key's index is the token."""
    # Not an event: its lock may be held by the very wait that the signal interrupts.
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: over.append(number))
    signal.signal(signal.SIGINT, lambda number, _: over.append(number))
    with urllib.request.urlopen(entry, timeout=5) as answer:
        token = json.load(answer)[0]["ModifyIndex"]
    writer = Writer(Path(diary))
    writer.note(event="campaigning")
    writer.note(event="elected", token=token)
    at = now()
    writer.note(believes=token, at=at, until=at)
    while not over:
        at = now()
        writer.beat(token, at)
        time.sleep(0.001)
    writer.note(at=at, believed=token)
    writer.note(event="resigned")
    writer.note(event="stopped")


if __name__ == "__main__":
    main(*sys.argv[1:])
