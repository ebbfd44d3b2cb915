"""An etcd without space: a write that it refuses may have been executed."""

from __future__ import annotations

import threading

from leadership_core.errors import StoreRefused
from leadership_etcd.claim import EtcdClaim
from leadership_etcd.store import EtcdStore
from tests.conftest import EtcdFactory
from tests.integration.etcd.conftest import Opener

_THREADS = 6


def test_claim_refused_for_quota_does_not_exist(etcd_server: EtcdFactory, opened: Opener) -> None:
    """Etcd executes the write that exceeds the quota and refuses it: that claim has entered."""
    server = etcd_server(settings={"quota-backend-bytes": str(24 << 20)})
    stores = [opened(server.url) for _ in range(_THREADS)]
    refused: list[str] = []
    entered: list[EtcdClaim] = []

    def fill(store: EtcdStore, number: int) -> None:
        session = store.open_session(60)
        for attempt in range(100):
            key = f"election/{number}/{attempt}"
            try:
                entered.append(store.election(key).enter(session, b"x" * 200_000))
            except StoreRefused:
                refused.append(f"{key}/{session.id}")
                return

    threads = [
        threading.Thread(target=fill, args=(store, number)) for number, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == _THREADS
    assert [key for key in refused if stores[0].get(key) is not None] == []
    there = server.keys("election/")
    assert sorted(there) == sorted(claim.claim_key.decode() for claim in entered)
    assert all(claim.granted and claim.settled for claim in entered)
