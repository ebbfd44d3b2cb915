"""A thread that reads keys for many watches: by a blocking query, or by turns.

See https://developer.hashicorp.com/consul/api-docs/features/blocking.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
from collections.abc import Callable

from leadership_core.backend import NotApplied, RateLimiter, StoreClosed, StoreUnavailable, one_line

from .client import Client, KeyValue
from .connection import Connection
from .responses import LastList
from .subscriptions import Snapshot, Spare, Subscription, WatchScope

__all__ = ["LongPoll"]

log: logging.Logger = logging.getLogger(__name__)

_ROUND_INTERVAL = 1.0  # seconds between two rounds of short reads
_READ_INTERVAL = 0.05  # seconds between two reads of a round
_IDLE_RATE, _IDLE_BURST = 5.0, 5.0  # reads per second that show no change
_MAX_BACKOFF = 5.0  # seconds
_SMALL_FOLDER = (
    50  # keys; only in a folder of so many a change is followed by the next read at once
)
_BATCH_DELAY = (
    0.0001  # seconds for each key of a larger folder, eight times what it takes to read it
)
_MAX_BATCH_DELAY = 1.0  # seconds
_LINGER = 0.2  # seconds for which a poll without subscriptions waits for another one


class LongPoll:
    """A thread that reads one or more scopes, and publishes what it has read.

    After the last subscription was closed it finishes the request under way, for as long as the
    agent waits at most. A candidate that tries to take a lock twice a second finds the poll there,
    and the agent, which does not notice that a client has gone, has one waiting request, not
    twenty.

    The watcher that it belongs to changes `scopes`, `subscriptions` and `snapshot` under its lock.

    Args:
        client: of the store.
        scopes: one for blocking queries; several are read in turn.
        lock: the watcher's.
        name: the thread's.
        on_unused: called in the thread, with no lock held, when there is no subscription any more.

    Attributes:
        waiting: seconds that the agent may wait in the request under way.
        started: whether the thread was started.
        joined: set when a subscription is added, and at the end.
    """

    def __init__(
        self,
        client: Client,
        scopes: list[WatchScope],
        lock: threading.Lock,
        name: str,
        on_unused: Callable[[LongPoll], None],
    ) -> None:
        self.scopes = scopes
        self.subscriptions: set[Subscription] = set()
        self.snapshot: Snapshot | None = None
        self.waiting: float = 0.0
        self.started: bool = False
        self.name = name
        self._on_unused = on_unused
        self._client = client
        self._lock = lock
        self._versions = itertools.count()
        self._index = 0
        self._last_list = LastList()
        self._last_found: list[KeyValue] = []
        self._last_pairs: dict[str, KeyValue] = {}
        self._failures = 0
        self._idle_limiter = RateLimiter(_IDLE_BURST, _IDLE_RATE)
        self._ended = threading.Event()
        self._hurry = threading.Event()  # the pause before the next read ends now
        self.joined: threading.Event = threading.Event()
        self._connection: Connection | None = None
        self._starting = threading.RLock()  # reentrant: a signal handler may subscribe, too
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, unless it was started.

        Raises:
            NotApplied: no thread can be started now; a later call may succeed.
        """
        with self._starting:
            if self.started:
                return
            self.started = True
            try:
                self._thread.start()
            except BaseException as error:
                self.started = self._thread.is_alive()
                if isinstance(error, RuntimeError):
                    raise NotApplied(
                        f"no thread can be started for a watch now: {error}"
                    ) from error
                raise

    def hurry(self) -> None:
        """Let the next read follow at once; from any thread."""
        self._hurry.set()

    def stop(self) -> None:
        """Let the thread end, and abort its request; from any thread, without waiting."""
        self._ended.set()
        self._hurry.set()
        self.joined.set()
        if self._connection is not None:
            self._connection.deadline.abort()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, for so many seconds at most."""
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._connection = self._client.thread_connection()
        except StoreClosed:
            return
        try:
            # A watch that is closed and opened again starts a new poll; the rate limit applies all
            # the same.
            self._hurry.wait(self._delay())
            while not self._ended.is_set():
                self._hurry.wait(self._turn())
                self._hurry.clear()
                self.joined.clear()
                if not (self.subscriptions or self._ended.is_set()):
                    # A candidate whose request to lock came too late watches the key again soon.
                    self.joined.wait(_LINGER)
                    if not self.subscriptions:
                        self._on_unused(self)
        except StoreClosed:
            pass  # the request was aborted
        finally:
            self._connection.close()

    def _turn(self) -> float:
        """Read once and publish; returns the seconds to wait before the next read."""
        self._charge()
        try:
            pairs, grew = self._read()
        except StoreClosed:
            raise
        except StoreUnavailable as error:
            problem = error
        except Exception as error:  # the thread has to go on, whatever this is
            log.exception("A watch has failed")
            problem = StoreUnavailable(f"a watch has failed: {one_line(repr(error), 200)}")
        else:
            if grew or pairs is not self._last_pairs:
                changed = self._publish(Snapshot(next(self._versions), pairs))
            else:
                changed = False
                self._confirm()
            self._last_pairs = pairs
            self._failures = 0
            if len(self.scopes) > 1:
                return _ROUND_INTERVAL
            # A change is followed by the next read at once. An answer without one, because of a
            # wrong index or a busy key in the same folder, is limited in its rate.
            idle = self.subscriptions and not (changed and grew)
            wait = self._idle_limiter.consume() if idle else 0.0
            # And changes without end are limited by the elections' own rate. Each answer contains all
            # keys of a folder, so many changes in a large one are read together.
            if len(pairs) > _SMALL_FOLDER:
                wait = max(wait, min(_MAX_BATCH_DELAY, len(pairs) * _BATCH_DELAY))
            return max(wait, self._delay())
        if self._ended.is_set():
            return 0.0
        self._index = 0  # after an outage the current state counts, not the changes since
        self._failures += 1
        self._publish(Snapshot(next(self._versions), problem))
        backoff = random.uniform(0, min(_MAX_BACKOFF, 0.1 * 2.0 ** min(self._failures, 10)))
        return max(backoff, self._idle_limiter.consume(), self._delay())

    def _limiters(self) -> list[dict[RateLimiter, Spare | None]]:
        """The limiters of the subscriptions, for each scope, with the requests that a read has to leave."""
        with self._lock:
            subscriptions = list(self.subscriptions)
        found: list[dict[RateLimiter, Spare | None]] = []
        for scope in self.scopes:
            spare: dict[RateLimiter, Spare | None] = {}
            for one in subscriptions:
                if scope.covers(one.scope) and (one.spare or one.limiter not in spare):
                    spare[one.limiter] = one.spare
            found.append(spare)
        return found

    def _charge(self) -> None:
        """Charge each scope's read to the election with the least delay, of those it serves."""
        for limiters in self._limiters():
            if limiters:
                min(limiters, key=RateLimiter.delay).consume()

    def _delay(self) -> float:
        """Seconds until the next blocking query may follow; rounds have their own interval."""
        limiters = self._limiters()
        if len(limiters) > 1 or not limiters[0]:
            return 0.0
        delay = min(one.delay(1 + (spare() if spare else 0)) for one, spare in limiters[0].items())
        if delay > 0:
            log.debug("rate limit of an election: the next read waits %.2f s", delay)
        return delay

    def _read(self) -> tuple[dict[str, KeyValue], bool]:
        """Read all scopes; returns the pairs, and whether the index has grown."""
        scopes = self.scopes
        if len(scopes) > 1:
            pairs: dict[str, KeyValue] = {}
            for scope in scopes:
                _, found = self._client.poll(scope.path, below=scope.below)
                pairs |= {pair.key: pair for pair in found}
                if self._ended.wait(_READ_INTERVAL):
                    break
            return pairs, False
        (scope,) = scopes
        with self._lock:
            wait = min((one.wait for one in self.subscriptions), default=_ROUND_INTERVAL)
            self.waiting = wait if self._index else 0.0
        after, found = self._client.poll(
            scope.path, below=scope.below, index=self._index, wait=wait, last=self._last_list
        )
        grew = after > self._index
        if after < self._index:
            # From a server that still replays its log, or one that was restored from a snapshot:
            # a linearizable read shows which. To make every poll linearizable would add a round
            # trip between the servers to each handover.
            self._index = 0
            self._charge()
            self._idle_limiter.consume()
            after, found = self._client.poll(scope.path, below=scope.below)
        self._index = max(0, after)
        if found is self._last_found:
            return self._last_pairs, grew
        self._last_found = found
        return {pair.key: pair for pair in found}, grew

    def _confirm(self) -> None:
        """Publish the last snapshot to the subscriptions that are called without a change, too."""
        with self._lock:
            if self._ended.is_set() or self.snapshot is None:
                return
            due = [one for one in self.subscriptions if one.confirm]
            if due:
                self.snapshot = Snapshot(next(self._versions), self.snapshot.pairs)
            snapshot = self.snapshot
        for one in due:
            one.publish(self, snapshot)

    def _publish(self, snapshot: Snapshot) -> bool:
        with self._lock:
            if self._ended.is_set():
                return False  # it may have read a part of the scopes only
            self.snapshot = snapshot
            subscriptions = list(self.subscriptions)
        changed = [one.publish(self, snapshot) for one in subscriptions]
        return any(changed)
