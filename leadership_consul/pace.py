"""How often Consul is asked about one election, whatever it answers.

An agent gone mad, or a proxy before it, can make every answer look like news: an index that
grows with each poll, a lock that is granted and gone again. What is right to do at once when it
happens once must not become a hot loop when it happens for ever.

So all requests of an election are counted, those of its watch, too. What has led to another
leader was not in vain, and is forgiven; but no answer tells an election that changes hands all
the time from a server that makes that up, so not more than a reserve is. Only what a user does
is free: no server can make him resign.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection

from leadership_core import clock
from leadership_core.budget import remaining_budget

from .client import Client, Operation, Record

__all__ = ["CountingClient", "Pace", "charge"]

log = logging.getLogger(__name__)

_ROUNDING = 0.001  # seconds


class Pace:
    """Lets a few requests through at once, and then so many a second; safe for several threads.

    Args:
        rate: requests a second, for each member.
        burst: requests that may come at once after a silence, for each member.
        reserve: requests that may be forgiven at once, for each member.
        recovery: how many of these come back each second.
    """

    def __init__(
        self, rate: float, burst: float, reserve: float = 0.0, recovery: float = 0.0
    ) -> None:
        self._rate, self._burst = rate, burst
        self._most, self._recovery = reserve, recovery
        self._forgiven = 0.0
        # For one who waits for its turn, or comes back for it: no hot watch starves it.
        self._kept = 0.0
        self._lock = threading.RLock()  # methods call each other; so may a signal handler
        self._members = 0
        self._spent = 0.0
        self._at = clock.now()

    def join(self) -> None:
        """There is one more who waits for what the requests find."""
        with self._lock:
            self._catch_up(0.0)
            self._members += 1

    def leave(self) -> None:
        """There is one less."""
        with self._lock:
            self._catch_up(0.0)
            self._members -= 1

    def spend(self, requests: float = 1.0) -> None:
        """So many are made now."""
        self._catch_up(requests)

    def refill(self, credit: float = 0.0) -> None:
        """What comes now is what a user wants: all that was spent, and so much more."""
        with self._lock:
            self._spent, self._forgiven, self._kept = -credit, 0.0, 0.0

    def give(self, requests: float) -> None:
        """So many of the next requests are a user's: they cost nothing."""
        with self._lock:
            self._catch_up(0.0)
            self._spent = max(self._spent - requests, min(self._spent, 0.0))

    def forgive(self) -> None:
        """What was spent was not in vain."""
        with self._lock:
            self._catch_up(0.0)
            left = max(0.0, self._most * self._scale - self._forgiven)
            refund = min(max(0.0, self._spent), left)
            self._spent -= refund
            self._forgiven += refund

    def wait(self) -> float:
        """Seconds until the next request may be made."""
        with self._lock:
            return self._until(1.0 + self._kept)

    def turn(self, requests: float) -> float:
        """Seconds until so many requests may be made at once; they are kept until then."""
        with self._lock:
            wait = self._until(requests)
            self._kept = requests if wait > 0 else 0.0
            return wait

    def delay(self) -> float:
        """Make one request, and return the seconds until the next may follow."""
        with self._lock:
            self.spend()
            return self.wait()

    def _until(self, requests: float) -> float:
        with self._lock:
            over = self._catch_up(0.0) + requests - self._burst * self._scale
            return max(0.0, over / (self._rate * self._scale))

    @property
    def _scale(self) -> int:
        return max(1, self._members)

    def _catch_up(self, requests: float) -> float:
        with self._lock:
            now = clock.now()
            passed = (now - self._at) * self._scale
            left = self._spent - passed * self._rate
            self._forgiven = max(0.0, self._forgiven - passed * self._recovery)
            # Half a burst of debt at most, so that no trouble is paid for longer than it lasted.
            most = 1.5 * self._burst * self._scale
            self._at, self._spent = now, min(max(min(self._spent, 0.0), left) + requests, most)
            return self._spent


def charge(paces: Collection[Pace], requests: float = 1.0) -> None:
    """Let the one of them who can best afford it pay for what is asked for all of them."""
    if paces:
        min(paces, key=Pace.wait).spend(requests)


class CountingClient:
    """The requests of one election; each is charged to it.

    What has begun goes on at once. So before it begins, and where it can be put off, its turn
    is awaited, for a part of the time that there is.

    Args:
        client: who makes them.
        pace: of the election.
        ended: set when nobody wants answers any more.
    """

    def __init__(self, client: Client, pace: Pace, ended: threading.Event) -> None:
        self._client, self._pace, self._ended = client, pace, ended

    def await_turn(self, requests: float) -> bool:
        """Wait until so many requests may be made at once; False if that takes too long."""
        limit = remaining_budget() / 4
        wait = self._pace.turn(requests)
        if wait <= 0:
            return True
        log.debug("too many requests for one election: the next waits %.2f s", min(wait, limit))
        self._ended.wait(min(wait, limit) + _ROUNDING)
        return wait <= limit and self._pace.turn(requests) <= 0

    def read(self, key: str) -> Record | None:
        """See `Client.read`."""
        self._pace.spend()
        return self._client.read(key)

    def txn(self, *operations: Operation) -> list[Record]:
        """See `Client.txn`."""
        self._pace.spend()
        return self._client.txn(*operations)

    def session_name(self, session: str) -> str | None:
        """See `Client.session_name`."""
        self._pace.spend()
        return self._client.session_name(session)
