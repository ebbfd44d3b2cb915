"""kazoo's own `Election`, run as its documentation has it: it believes, and writes that down."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from kazoo.client import KazooClient, KazooState

from tests.scenarios.diary import Writer, now


def main(hosts: str, path: str, who: str, diary: str) -> None:
    """Believe from the call until SIGTERM, or until kazoo reports trouble; the czxid is the token."""
    over = threading.Event()
    client = KazooClient(hosts=hosts, timeout=4.0)
    client.start(10)
    client.add_listener(lambda state: over.set() if state != KazooState.CONNECTED else None)
    election = client.Election(path, who)

    def leave() -> None:
        over.set()
        election.cancel()

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=leave).start())
    writer = Writer(Path(diary))

    def lead() -> None:
        owner = client.client_id[0]
        stats = (client.exists(f"{path}/{child}") for child in client.get_children(path))
        (token,) = (stat.czxid for stat in stats if stat and stat.ephemeralOwner == owner)
        writer.note(event="elected", token=token)
        at = now()
        writer.note(believes=token, at=at, until=at)
        while not over.wait(0.001):
            at = now()
            writer.beat(token, at)
        writer.note(at=at, believed=token)
        writer.note(event="resigned")

    writer.note(event="campaigning")
    while not over.is_set():
        election.run(lead)
    writer.note(event="stopped")
    client.stop()
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
