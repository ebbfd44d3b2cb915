"""Program of a candidate with kazoo's `Election`, used as documented; it records its terms."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from kazoo.client import KazooClient, KazooState

from tests.support.recording import Recorder, now


def main(hosts: str, path: str, who: str, recording: str) -> None:
    """Lead until SIGTERM, or until kazoo reports a fault; the czxid is the token."""
    over = threading.Event()
    client = KazooClient(hosts=hosts, timeout=4.0)
    client.start(10)
    client.add_listener(lambda state: over.set() if state != KazooState.CONNECTED else None)
    election = client.Election(path, who)

    def leave() -> None:
        over.set()
        election.cancel()

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=leave).start())
    recorder = Recorder(Path(recording))

    def lead() -> None:
        owner = client.client_id[0]
        stats = (client.exists(f"{path}/{child}") for child in client.get_children(path))
        (token,) = (stat.czxid for stat in stats if stat and stat.ephemeralOwner == owner)
        recorder.note(event="elected", token=token)
        at = now()
        recorder.note(interval_began=token, at=at, until=at)
        while not over.wait(0.001):
            at = now()
            recorder.beat(token, at)
        recorder.note(at=at, interval_ended=token)
        recorder.note(event="resigned")

    recorder.note(event="campaigning")
    while not over.is_set():
        election.run(lead)
    recorder.note(event="stopped")
    client.stop()
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
