"""Programs that ask who leads, as often as they can."""

from __future__ import annotations

import threading

from leadership_core import Candidate, open_store
from tests.servers.consul import Consul


def test_reader_without_a_pause_keeps_nobody_from_being_elected(
    consul: Consul, unique_key: str
) -> None:
    """What a user asks is not what an election asks: the candidate's own requests have their turn."""
    enough = threading.Event()
    with open_store(consul.url) as store:

        def read() -> None:
            while not enough.is_set():
                store.leader(unique_key)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            candidate = Candidate(store, unique_key, "a", ttl=2.0)
            first = candidate.wait_elected(3)
            assert first is not None
            assert candidate.resign(0.1)
            assert candidate.wait_elected(3)
        finally:
            enough.set()
            for reader in readers:
                reader.join()
