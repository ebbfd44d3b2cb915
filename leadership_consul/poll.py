"""One thread that looks at Consul for many: by a long poll, or going round several places."""

from __future__ import annotations

import itertools
import logging
import random
import threading
from collections.abc import Callable

from leadership_core.errors import NotDone, StoreClosed, StoreUnavailable
from leadership_core.text import one_line

from .client import Client, Record
from .lane import Lane
from .pace import Pace, charge
from .view import Scope, Subscription, View

__all__ = ["Poll"]

log = logging.getLogger(__name__)

_ROUND = 1.0  # seconds between two rounds of short reads
_BREATH = 0.05  # seconds between two reads of a round
_RATE = 5.0  # looks a second that bring no news
_BURST = 5
_CAP = 5.0  # seconds, the longest backoff


class Poll:
    """A thread that shows its subscribers what is there.

    When the last subscriber has left it goes on with the request that is under way, for at most as
    long as the agent holds that. A candidate that tries for a lock twice a second finds it there,
    and an agent, which goes on with a request whose client has gone, holds one and not twenty.

    The watcher that it belongs to changes `scopes`, `subscriptions` and `view` under its lock.

    Args:
        client: where to look.
        scopes: one for a long poll; several are read in turn.
        lock: the watcher's.
        name: the thread's.
        unused: called with it in its thread, under no lock, when no subscriber has come back.

    Attributes:
        held: seconds for which the agent was asked to hold the look that is under way.
        started: whether its thread has been.
    """

    def __init__(
        self,
        client: Client,
        scopes: list[Scope],
        lock: threading.Lock,
        name: str,
        unused: Callable[[Poll], None],
    ) -> None:
        self.scopes = scopes
        self.subscriptions: set[Subscription] = set()
        self.view: View | None = None
        self.held = 0.0
        self.started = False
        self.name = name
        self._unused = unused
        self._client = client
        self._lock = lock
        self._versions = itertools.count()
        self._index = 0
        self._failures = 0
        self._pace = Pace(_RATE, _BURST)
        self._ended = threading.Event()
        self._lane: Lane | None = None
        self._starting = threading.RLock()  # a signal handler may subscribe, too
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start its thread, unless that is done.

        Raises:
            NotDone: there can be none now; call it again.
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
                    raise NotDone(f"no thread can be started for a watch now: {error}") from error
                raise

    def stop(self) -> None:
        """Let the thread end, at once even from within a long poll; from any thread."""
        self._ended.set()
        if self._lane is not None:
            self._lane.line.cut()

    def join(self, timeout: float) -> None:
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._lane = self._client.lane()
        except StoreClosed:
            return
        try:
            # Whoever leaves and comes back makes a new poll: that is no way round the pace.
            self._ended.wait(self._due())
            while not self._ended.is_set():
                self._ended.wait(self._turn())
                if not self.subscriptions:
                    self._unused(self)
        except StoreClosed:
            pass  # cut off
        finally:
            self._lane.close()

    def _turn(self) -> float:
        """Look once; returns how many seconds to wait before the next look."""
        self._spend()
        try:
            records, grew = self._look()
        except StoreClosed:
            raise
        except StoreUnavailable as error:
            problem = error
        except Exception as error:  # the thread has to go on, whatever this is
            log.exception("A watch has failed")
            problem = StoreUnavailable(f"a watch has failed: {one_line(repr(error), 200)}")
        else:
            news = self._show(View(next(self._versions), records))
            self._failures = 0
            if len(self.scopes) > 1:
                return _ROUND
            # Change upon change is followed at once. An answer that came early without any, be it
            # a wrong index or a busy neighbour in the folder, is not asked for again at once.
            wait = 0.0 if news and grew else self._pace.delay()
            # Nor can a server that has news in every answer make it look for ever without a break.
            return max(wait, self._due())
        if self._ended.is_set():
            return 0.0
        self._index = 0  # after an outage the state counts, not what has changed since
        self._failures += 1
        self._show(View(next(self._versions), problem))
        backoff = random.uniform(0, min(_CAP, 0.1 * 2.0 ** min(self._failures, 10)))
        return max(backoff, self._pace.delay(), self._due())

    def _payers(self) -> list[set[Pace]]:
        """Who pays for a look, for each scope."""
        with self._lock:
            return [
                {one.pace for one in self.subscriptions if scope.covers(one.scope)}
                for scope in self.scopes
            ]

    def _spend(self) -> None:
        for paces in self._payers():
            charge(paces)

    def _due(self) -> float:
        """Seconds until the next look may follow; a round has its own."""
        payers = self._payers()
        if len(payers) > 1:
            return 0.0
        wait = min((pace.wait() for pace in payers[0]), default=0.0)
        if wait > 0:
            log.debug("too many requests for one election: the next look waits %.2f s", wait)
        return wait

    def _look(self) -> tuple[dict[str, Record], bool]:
        scopes = self.scopes
        if len(scopes) > 1:
            return self._round(scopes), False
        (scope,) = scopes
        with self._lock:
            wait = min((one.wait for one in self.subscriptions), default=_ROUND)
            self.held = wait if self._index else 0.0
        after, found = self._client.poll(
            scope.path, below=scope.below, index=self._index, wait=wait
        )
        grew = after > self._index
        if after < self._index:
            # A server that still replays its log, or one that was restored: a linearizable read
            # tells which. To ask each poll for that would add a round of the servers to each
            # hand-over.
            self._index = 0
            self._spend()
            self._pace.spend()
            after, found = self._client.poll(scope.path, below=scope.below)
        self._index = max(0, after)
        return {record.key: record for record in found}, grew

    def _round(self, scopes: list[Scope]) -> dict[str, Record]:
        records: dict[str, Record] = {}
        for scope in scopes:
            _, found = self._client.poll(scope.path, below=scope.below)
            records |= {record.key: record for record in found}
            if self._ended.wait(_BREATH):
                break
        return records

    def _show(self, view: View) -> bool:
        with self._lock:
            if self._ended.is_set():
                return False  # it may have seen a part only
            self.view = view
            subscriptions = list(self.subscriptions)
        news = [one.show(self, view) for one in subscriptions]
        return any(news)
