"""What `consul lock` runs while it holds the lock: it believes, and writes that down."""

from __future__ import annotations

import json
import signal
import sys
import threading
import urllib.request
from pathlib import Path

from tests.scenarios.diary import Writer, now


def main(diary: str, entry: str) -> None:
    """Believe until SIGTERM; the key's index is the token."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    signal.signal(signal.SIGINT, lambda *_: over.set())
    with urllib.request.urlopen(entry, timeout=5) as answer:
        token = json.load(answer)[0]["ModifyIndex"]
    writer = Writer(Path(diary))
    writer.note(event="campaigning")
    writer.note(event="elected", token=token)
    at = now()
    writer.note(believes=token, at=at, until=at)
    while not over.wait(0.001):
        at = now()
        writer.beat(token, at)
    writer.note(at=at, believed=token)
    writer.note(event="resigned")
    writer.note(event="stopped")


if __name__ == "__main__":
    main(*sys.argv[1:])
