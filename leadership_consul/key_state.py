"""The last observed state of an election's key, and the rate limit of the requests about it.

A faulty agent or proxy can make every answer look like a change: an index that grows with each
poll, a lock that is granted and lost again. A change is followed at once when it happens once,
and must not become a busy loop when it happens without end.

So all requests of an election are counted, those of its watch included. A candidate that waits pays
three for a hand-over that it loses: the poll that reports the free key, the request to lock it, and the poll
that reports the next leader. Where many candidates hand over without a pause, each of them
uses up its requests, and then takes part in some hand-overs only, at random. So at each of them
some candidates have requests left. Requests caused by user calls are exempt: no server can make a user resign.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator

from leadership_core.backend import RateLimiter, one_line, remaining_timeout

from .claim import LOCK_FLAG, SEMAPHORE_FLAG, leader_of
from .client import Client, KeyValue, Operation

__all__ = ["KeyState", "RateLimitedClient"]

log: logging.Logger = logging.getLogger(__name__)

# For each candidate and follower: eleven requests at once, a debt of five for an operation that takes
# more requests than it usually does, and then 2.7 a second. With the polls that each lock has prepaid, three
# renewals of the default ttl and two requests for the session, that makes 55 in ten seconds at most.
_RATE, _BURST = 2.7, 11.0

_MAX_RESERVE = 6.0  # requests; see `KeyState.random_reserve`
# Seconds; see `KeyState.lock_jitter`.
_FIRST_SPREAD, _MAX_SPREAD = 0.016, 0.064

_ROUNDING = 0.001  # seconds

_MOST_WARNINGS = 20  # of one election: other candidates may come and go without end
_MAX_NAME = 300  # characters in a log message


class KeyState:
    """What is known of a key; thread-safe: a lost update costs a request at most.

    Args:
        client: of the store.
        key: with the prefix.
        ended: set when the store is closed.

    Attributes:
        limiter: of all requests about the key.
        client: makes requests that are charged to it.
    """

    def __init__(self, client: Client, key: str, ended: threading.Event) -> None:
        self.limiter: RateLimiter = RateLimiter(_BURST, _RATE)
        self.client: RateLimitedClient = RateLimitedClient(client, self.limiter, ended)
        self._unlimited = client
        self._key = key
        # The highest modify index that was read, that a request to lock was made with, or that a
        # leader had.
        self._index = 0
        self._outdated = -1  # a modify index that the key certainly has no longer
        self._reported: frozenset[str] = frozenset()  # sessions that lock the key with other flags
        self._spread = 0.0  # seconds over which requests to lock are spread

    def read(self) -> KeyValue | None:
        """Read the key, linearizably."""
        pair = self.client.read(self._key)
        self.observe(pair)
        if pair is not None:
            self._index = max(self._index, pair.modify_index)
        return pair

    def read_unlimited(self) -> KeyValue | None:
        """Read the key, linearizably, without charging the request.

        For user calls, which may come at any rate, and for followers, which read once a second at
        most: neither may delay a candidate.
        """
        return self._unlimited.read(self._key)

    def observe(self, pair: KeyValue | None) -> None:
        """Record a state of the key, in which it may have a leader.

        Logs a warning, once for each session, of a lock that was not taken as one of this library or
        of `consul lock`.
        """
        if pair is not None and pair.flags != LOCK_FLAG and leader_of(pair) is not None:
            self._report_foreign(pair)
        if pair is not None and pair.modify_index > self._index and leader_of(pair) is not None:
            self._index = pair.modify_index

    def _report_foreign(self, pair: KeyValue) -> None:
        session = pair.session or ""
        if session in self._reported or len(self._reported) == _MOST_WARNINGS:
            return
        self._reported |= {session}
        log.warning(
            "the key %s is locked by the session %s of another program, whose flags (%#x) are not those "
            "of a lock: candidates wait until it is released; if that program is no candidate of this "
            "election, use another key",
            one_line(self._key, _MAX_NAME),
            one_line(session, _MAX_NAME),
            pair.flags,
        )

    def note_attempt(self, unlocked: KeyValue) -> None:
        """Record that a request to lock the key in this state is made now."""
        self._index = max(self._index, unlocked.modify_index)

    def note_locked(self) -> None:
        """Record that a request to lock the key was applied."""
        self._spread = self._spread / 4 if self._spread > _FIRST_SPREAD else 0.0

    def note_outdated(self, unlocked: KeyValue) -> None:
        """Record that the key is no longer as it was: a request to lock it came too late."""
        self._outdated = unlocked.modify_index
        self._spread = min(max(_FIRST_SPREAD, 2 * self._spread), _MAX_SPREAD)

    def is_outdated(self, pair: KeyValue | None) -> bool:
        """Whether the key certainly has changed since, so the watch will report another state."""
        return pair is not None and pair.modify_index == self._outdated

    def random_reserve(self) -> float:
        """How many requests the limit has to leave after the next poll; otherwise the poll has to wait.

        It is random where requests to lock came too late, so that not all candidates of a busy
        key use up their requests with the same answer, and then all miss the next hand-over.
        """
        return random.uniform(0.0, _MAX_RESERVE) if self._spread else 0.0

    def lock_jitter(self) -> float:
        """Seconds to wait before a request to lock the key, at random.

        Where sixty see the free key at the same moment, one of them should be first, and the others should
        see that it is locked before they have made a request: sixty requests keep two processors busy for
        a tenth of a second. How many there are is unknown. So the time over which a candidate spreads its
        requests is doubled by each one that came too late, and divided by four where one was in time: then
        two of them come too late in each hand-over, on average. One that never came too late does not wait.
        """
        return random.uniform(0.0, self._spread)

    def attempts(self) -> Iterator[int]:
        """One attempt, and two more if the rate limit permits them."""
        for number in range(3):
            if number == 0 or self.limiter.delay() <= 0:
                yield number

    def is_newly_unlocked(self, unlocked: KeyValue | None) -> bool:
        """Whether a watch has seen an unlocked state of the key that no read has seen before.

        A read is not needed then. Should the watch be late, the guard of the lock does not match.
        """
        return (
            unlocked is not None
            and unlocked.modify_index > self._index
            and unlocked.flags != SEMAPHORE_FLAG
        )


class RateLimitedClient:
    """A client whose requests are charged to one election; thread-safe.

    A request is never delayed once its operation has begun. So `wait_for_turn` is called before
    an operation that can be put off.

    Args:
        client: makes the requests.
        limiter: of the election.
        ended: set when the store is closed.
    """

    def __init__(self, client: Client, limiter: RateLimiter, ended: threading.Event) -> None:
        self._client, self._limiter, self._ended = client, limiter, ended

    def pause(self, seconds: float) -> None:
        """Wait, or until the store is closed."""
        if seconds > 0:
            self._ended.wait(seconds)

    def wait_for_turn(self, requests: float) -> bool:
        """Wait until so many requests may be made at once; False if that takes too long.

        Blocks for a quarter of `remaining_timeout` at most.
        """
        limit = remaining_timeout() / 4
        delay = self._limiter.reserve(requests)
        if delay <= 0:
            return True
        log.debug("rate limit of an election: waiting %.2f s", min(delay, limit))
        self._ended.wait(min(delay, limit) + _ROUNDING)
        return delay <= limit and self._limiter.reserve(requests) <= 0

    def read(self, key: str) -> KeyValue | None:
        """See `Client.read`."""
        self._limiter.consume()
        return self._client.read(key)

    def txn(self, *operations: Operation) -> list[KeyValue]:
        """See `Client.txn`."""
        self._limiter.consume()
        return self._client.txn(*operations)

    def session_name(self, session: str) -> str | None:
        """See `Client.session_name`."""
        self._limiter.consume()
        return self._client.session_name(session)
