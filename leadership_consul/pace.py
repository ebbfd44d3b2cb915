"""How often Consul is asked about one election, whatever it answers.

An agent gone mad, or a proxy before it, can make every answer look like news: an index that
grows with each poll, a lock that is granted and gone again. What is right to do at once when it
happens once must not become a hot loop when it happens for ever.
"""

from __future__ import annotations

import threading

from leadership_core import clock
from leadership_core.budget import remaining_budget

from .client import Client, Operation, Record

__all__ = ["Pace", "PacedClient"]


class Pace:
    """Lets a few requests through at once, and then so many a second; safe for several threads.

    Args:
        rate: requests a second, for each member.
        burst: requests that may come at once after a silence, for each member.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._lock = threading.Lock()
        self._members = 0
        self._spent = 0.0
        self._at = clock.now()

    def join(self) -> None:
        """There is one more who waits for what the requests find."""
        self._catch_up(0.0)
        self._members += 1

    def leave(self) -> None:
        """There is one less."""
        self._catch_up(0.0)
        self._members -= 1

    def spend(self, requests: float = 1.0) -> None:
        """So many are made now."""
        self._catch_up(requests)

    def refill(self) -> None:
        """What comes now is what a user wants."""
        self._spent = -self._burst

    def wait(self) -> float:
        """Seconds until the next request may be made."""
        over = self._catch_up(0.0) + 1 - self._burst * self._scale
        return max(0.0, over / (self._rate * self._scale))

    def delay(self) -> float:
        """Make one request, and return the seconds until the next may follow."""
        self.spend()
        return self.wait()

    @property
    def _scale(self) -> int:
        return max(1, self._members)

    def _catch_up(self, requests: float) -> float:
        with self._lock:
            now = clock.now()
            left = self._spent - (now - self._at) * self._rate * self._scale
            # Twice the burst at most, so that no trouble is paid for longer than it lasted.
            most = 2 * self._burst * self._scale
            self._at, self._spent = now, min(max(min(self._spent, 0.0), left) + requests, most)
            return self._spent


class PacedClient:
    """The requests of one election; each waits for its turn, for a part of its time at most.

    Args:
        client: who makes them.
        pace: of the election.
        ended: set when nobody wants answers any more.
    """

    def __init__(self, client: Client, pace: Pace, ended: threading.Event) -> None:
        self._client, self._pace, self._ended = client, pace, ended

    def read(self, key: str) -> Record | None:
        """See `Client.read`."""
        self._take_turn()
        return self._client.read(key)

    def txn(self, *operations: Operation) -> list[Record]:
        """See `Client.txn`."""
        self._take_turn()
        return self._client.txn(*operations)

    def session_name(self, session: str) -> str | None:
        """See `Client.session_name`."""
        self._take_turn()
        return self._client.session_name(session)

    def _take_turn(self) -> None:
        wait = self._pace.wait()
        if wait > 0:
            self._ended.wait(min(wait, remaining_budget() / 4))
        self._pace.spend()
