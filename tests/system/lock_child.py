"""Program run by `consul lock`: it records itself as leader until SIGTERM."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.request
from pathlib import Path

from tests.support.recording import Recorder, now


def main(recording: str, entry: str) -> None:
    """Lead until SIGTERM; the key's index is the token."""
    # Not an event: its lock may be held by the very wait that the signal interrupts.
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: over.append(number))
    signal.signal(signal.SIGINT, lambda number, _: over.append(number))
    with urllib.request.urlopen(entry, timeout=5) as answer:
        token = json.load(answer)[0]["ModifyIndex"]
    recorder = Recorder(Path(recording))
    recorder.note(event="campaigning")
    recorder.note(event="elected", token=token)
    at = now()
    recorder.note(interval_began=token, at=at, until=at)
    while not over:
        at = now()
        recorder.beat(token, at)
        time.sleep(0.001)
    recorder.note(at=at, interval_ended=token)
    recorder.note(event="resigned")
    recorder.note(event="stopped")


if __name__ == "__main__":
    main(*sys.argv[1:])
