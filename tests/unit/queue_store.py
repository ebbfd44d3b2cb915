"""A `FaultyStore` over `memory://` whose elections are queues of claims, as those of etcd and ZooKeeper are."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from leadership_core.backend import (
    ABSENT,
    Absent,
    Change,
    Claim,
    ClaimStatus,
    Closable,
    Election,
    Entry,
    Leader,
    Leading,
    Session,
    SessionLost,
    StoreUnavailable,
    Waiting,
)
from tests.unit.faulty import FaultyStore

__all__ = ["QueueStore"]


class QueueStore(FaultyStore):
    """Its elections declare `orders_claims`."""

    def election(self, key: str) -> Election:
        return QueueElection(self, key)


class QueueElection:
    """An entry for each claim, bound to its session; the oldest one leads."""

    orders_claims = True

    def __init__(self, store: QueueStore, key: str) -> None:
        self._store, self._key = store, key

    def enter(self, session: Session, value: bytes) -> Claim:
        name = f"{self._key}/{session.id}"
        if session not in self._store.alive():
            raise SessionLost("it has ended")
        entry = self._store.put(name, value, expect=ABSENT, session=session)
        return Claim(self._key, session, value, token=entry.revision)

    def status(self, claim: Claim) -> ClaimStatus:
        queue = self._queue()
        if not any(entry.revision == claim.token for entry in queue):
            return Absent()
        return Leading(queue[0].revision) if queue[0].revision == claim.token else Waiting()

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        return self._store.watch(self._key, lambda _: wake(), tree=True)

    def withdraw(self, claim: Claim) -> None:
        for entry in self._queue():
            if entry.revision == claim.token:
                self._store.delete(entry.key)

    def leader(self) -> Leader | None:
        return _leader_of(self._queue())

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        def changed(change: Change) -> None:
            queue = change if isinstance(change, list) else []
            on_change(
                change if isinstance(change, StoreUnavailable) else _leader_of(_sorted(queue))
            )

        return self._store.watch(self._key, changed, tree=True)

    def _queue(self) -> list[Entry]:
        return _sorted(self._store.list(self._key))


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=attrgetter("revision"))


def _leader_of(queue: list[Entry]) -> Leader | None:
    return Leader.of(queue[0].value, queue[0].revision) if queue else None
