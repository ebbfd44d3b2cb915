"""Simulated time, and a simulated store with a queue of requests, for more processes than one machine can run."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

__all__ = ["SimulatedStore", "SimulatedTime", "StoredClaim", "StoredSession"]

_REFUSED_AFTER = 0.001  # seconds


class SimulatedTime:
    """A clock, and the calls that are due.

    Attributes:
        now: seconds.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def clock(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(when, self.now), next(self._numbers), call))

    def run(self, until: float) -> None:
        """Make all calls up to that time."""
        while self._due and self._due[0][0] <= until:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.now = until


@dataclass(eq=False)
class StoredSession:
    """A session at the store.

    Attributes:
        ends_at: when it ends without a further renewal.
        claims: bound to it.
        ended: it has ended.
    """

    ends_at: float
    claims: set[StoredClaim] = field(default_factory=set)
    ended: bool = False


@dataclass(eq=False)
class StoredClaim:
    """A place in the queue of an election.

    Attributes:
        election: its number.
        session: that it is bound to.
        token: grows with each claim.
        wake: called when it has become the first.
    """

    election: int
    session: StoredSession
    token: int
    wake: Callable[[], None] = lambda: None


class SimulatedStore:
    """Elections as queues, and servers that execute one request after the other.

    Args:
        time: whose clock to use.
        capacity: requests a second; inf for servers without a limit.
        latency: seconds that a request takes on an idle server.

    Attributes:
        away: requests are refused.
        demand: requests that have come in each second, by their kind.
        elected: when each election got its last leader.
        led: the elections that have a first claim.
    """

    def __init__(
        self, time: SimulatedTime, *, capacity: float = inf, latency: float = 0.002
    ) -> None:
        self.away = False
        self.demand: dict[str, Counter[int]] = {}
        self._time, self._capacity, self._latency = time, capacity, latency
        self._free_at = 0.0
        self._queues: dict[int, list[StoredClaim]] = {}
        self._tokens = itertools.count(1)

    @property
    def led(self) -> int:
        """How many elections have a first claim."""
        return sum(map(bool, self._queues.values()))

    def request(
        self,
        kind: str,
        limit: float,
        apply: Callable[[], object],
        done: Callable[[object], None],
        *,
        weight: float = 1.0,
    ) -> None:
        """Send a request.

        Args:
            kind: for the counts.
            limit: seconds that the client waits.
            apply: done at the store, when it comes to it, even if the client waits no more.
            done: called once, with what `apply` returns, or with an exception for no answer in time.
            weight: how many requests this is to the servers.
        """
        sent = self._time.now
        counts = self.demand.setdefault(kind, Counter())
        counts[int(sent)] += round(weight)
        if self.away:
            refused = ConnectionRefusedError()
            self._time.call_at(sent + _REFUSED_AFTER, lambda: done(refused))
            return
        self._free_at = max(self._free_at, sent) + weight / self._capacity
        answer_at = self._free_at + self._latency
        if answer_at - sent <= limit:
            self._time.call_at(answer_at, lambda: done(apply()))
        else:
            self._time.call_at(answer_at, lambda: (apply(), None)[1])
            self._time.call_at(sent + limit, lambda: done(TimeoutError()))

    # -- at the store ------------------------------------------------------------------------

    def open(self, ttl: float) -> StoredSession:
        session = StoredSession(self._time.now + ttl)
        self._time.call_at(session.ends_at, lambda: self._check(session))
        return session

    def renew(self, session: StoredSession, ttl: float) -> bool:
        if not session.ended:
            session.ends_at = self._time.now + ttl
        return not session.ended

    def _check(self, session: StoredSession) -> None:
        if session.ended:
            return
        if session.ends_at <= self._time.now and not self.away:
            self.close(session)
        else:  # a store that was away counts from its return, as servers with a new leader do
            self._time.call_at(
                max(session.ends_at, self._time.now + 1.0), lambda: self._check(session)
            )

    def close(self, session: StoredSession) -> None:
        session.ended = True
        for claim in list(session.claims):
            self.withdraw(claim)

    def enter(self, election: int, session: StoredSession) -> StoredClaim | None:
        """Add a claim at the end of the queue; None if the session has ended."""
        if session.ended:
            return None
        claim = StoredClaim(election, session, next(self._tokens))
        session.claims.add(claim)
        self._queues.setdefault(election, []).append(claim)
        return claim

    def first(self, claim: StoredClaim) -> bool | None:
        """Whether the claim is the first of its queue; None if it is gone."""
        queue = self._queues.get(claim.election, [])
        if claim not in queue:
            return None
        return queue[0] is claim

    def withdraw(self, claim: StoredClaim) -> None:
        queue = self._queues.get(claim.election, [])
        claim.session.claims.discard(claim)
        if claim in queue:
            was_first = queue[0] is claim
            queue.remove(claim)
            if was_first and queue:
                self._time.call_at(self._time.now + self._latency, queue[0].wake)
