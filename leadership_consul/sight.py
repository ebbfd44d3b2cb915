"""What one election has seen of its key, and at what pace it looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from .claim import LOCK_FLAG, SEMAPHORE_FLAG, leader_of
from .client import Client, Record
from .pace import CountingClient, Pace

__all__ = ["Sight"]

# For each candidate and follower: fourteen requests at once, twelve more where another leader comes
# of them, and then 2.3 a second. With three renewals of the usual ttl and two for the session, that
# makes 55 in ten seconds at most.
_RATE, _BURST = 2.0, 14.0
_RESERVE, _RECOVERY = 12.0, 0.3


class Sight:
    """What is known of a key; safe for several threads, which may overwrite each other's.

    Args:
        client: who asks.
        key: with the prefix.
        ended: set when nobody wants answers any more.

    Attributes:
        pace: of all that is asked about the key.
        client: charges it.
    """

    def __init__(self, client: Client, key: str, ended: threading.Event) -> None:
        self.pace = Pace(_RATE, _BURST, _RESERVE, _RECOVERY)
        self.client = CountingClient(client, self.pace, ended)
        self._plain = client
        self._key = key
        self._index = 0  # the highest that was read, or that was tried to lock, or that led

    def read(self) -> Record | None:
        """Read the key, linearizably."""
        record = self.client.read(self._key)
        self.note(record)
        if record is not None:
            self._index = max(self._index, record.modified)
        return record

    def peek(self) -> Record | None:
        """Read the key, linearizably, at no pace.

        A user may ask as often as he likes, and a follower asks once a second at most: neither
        keeps a candidate from its turn.
        """
        return self._plain.read(self._key)

    def note(self, record: Record | None) -> None:
        """Forgive what was asked if somebody leads who has not been seen before."""
        if record is not None and record.modified > self._index and leader_of(record) is not None:
            self._index = record.modified
            if record.flags == LOCK_FLAG:
                self.pace.forgive()

    def tried(self, vacant: Record) -> None:
        """A request to lock the key as it was there is made now."""
        self._index = max(self._index, vacant.modified)

    def tries(self) -> Iterator[int]:
        """One, and two more if they keep the pace."""
        for number in range(3):
            if number == 0 or self.pace.wait() <= 0:
                yield number

    def is_free(self, vacancy: Record | None) -> bool:
        """Whether a watch has seen what no read has seen before: the lock is free to take.

        A read would say the same. Should the watch be late, the guard of the lock does not fit.
        """
        return (
            vacancy is not None
            and vacancy.modified > self._index
            and vacancy.flags != SEMAPHORE_FLAG
        )
