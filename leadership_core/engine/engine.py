"""The engine of one open store: its threads, its sessions, its candidates and followers."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from ..backend import clock
from ..backend.capabilities import capabilities_of, expires_within, least_margin_of, prefix_of
from ..backend.deadline import call_timeout
from ..backend.default_election import election_of
from ..backend.event_count import Flag, snapshot
from ..backend.protocols import Capability, Election, StoreBackend
from ..backend.time_source import time_source_of
from ..backend.validation import LONGEST_TTL
from ..errors import NotApplied, StoreClosed
from ..events import LostReason
from .context import EngineContext
from .election_cleaner import ElectionCleaner
from .executors import WorkerPool
from .instrumentation import ObservedStore
from .key_queue import KeyQueues
from .reentrancy import interrupts
from .scheduler import Scheduler
from .session_pool import SessionPool

if TYPE_CHECKING:
    from ..backend.records import Record

__all__ = ["Engine"]

log: logging.Logger = logging.getLogger("leadership.engine")

_REQUEST_THREADS, _RELEASE_THREADS = 4, 3
_LEAVING_SECONDS = 0.5  # for single withdrawals; after that one request releases all of a session
_MOST_AT_ONCE = 2000  # claims in that request: ZooKeeper's servers pass on 1 MB at most
_LAST_STEPS = 0.2  # seconds that are kept for the threads to end, at most a tenth of the time
_LEAST = 0.02  # seconds for each of the last steps even if there is no time left


def _left(until: float) -> float:
    return max(0.0, until - clock.now())


class Participant(Protocol):
    """A candidate or a follower, as its engine knows it."""

    def begin_stop(self) -> None:
        """Begin to leave for good; does not wait."""

    def await_stop(self, timeout: float) -> bool:
        """Wait until it has left; False if that takes longer."""

    def abandon(self) -> None:
        """Give up waiting for the store, and end all iterators."""

    @property
    def works_here(self) -> bool:
        """Whether the calling thread works for its latest term."""

    def present(self) -> Iterator[Record]:
        """Records of its present state, for an observer that is registered now."""


class Engine:
    """The threads, the sessions and the participants of one open store.

    Args:
        backend: the store of a plugin.
        url: of the store, with all secrets masked, for observers.

    Raises:
        PluginError: the backend declares something invalid.

    Attributes:
        context: what sessions and candidates get of it.
        sessions: all of the store's.
        queues: of the candidates for each key.
        cleaner: of elections that no candidate is in any more.
        forked: this process is a child of the one that opened the store.
    """

    def __init__(self, backend: StoreBackend, url: str) -> None:
        self.capabilities: frozenset[Capability] = capabilities_of(backend)
        self.prefix: str = prefix_of(backend)
        expires_within(backend, LONGEST_TTL)  # so that `open_store` reports a mistake of the plugin
        self.forked: bool = False
        source = time_source_of(backend)
        scheduler = Scheduler("leadership-scheduler", source)
        self.context: EngineContext = EngineContext(
            backend=backend,
            store=ObservedStore.of(url, self.prefix, source.clock),
            time_source=source,
            least_margin=least_margin_of(backend),
            rng=random.Random(source.seed),
            scheduler=scheduler,
            requests=WorkerPool(
                "leadership-request", _REQUEST_THREADS, scheduler.call_later, source
            ),
            releases=WorkerPool(
                "leadership-release", _RELEASE_THREADS, scheduler.call_later, source
            ),
            closed=Flag(),
            answered_at=source.now(),
        )
        self.queues: KeyQueues = KeyQueues(scheduler.call_later)
        self.sessions: SessionPool = SessionPool(self.context, self.queues.offer_second)
        self.cleaner: ElectionCleaner = ElectionCleaner(
            scheduler, self.context.releases, self.context.store
        )
        self._elections: WeakValueDictionary[str, Election] = WeakValueDictionary()
        self._electing = threading.RLock()  # users' threads only: a signal handler may get in
        self._participants: set[Participant] = set()
        self._closing = False

    @property
    def backend(self) -> StoreBackend:
        """The store of the plugin."""
        return self.context.backend

    @property
    def least_margin(self) -> float:
        """Seconds, the least margin of the store."""
        return self.context.least_margin

    @property
    def scheduler(self) -> Scheduler:
        """Runs all state machines and timers."""
        return self.context.scheduler

    @property
    def closed(self) -> Flag:
        """Set once `close` has released what it could."""
        return self.context.closed

    @property
    def has_worked(self) -> bool:
        """Whether the store has answered at least once."""
        return self.context.has_worked

    @property
    def answered_at(self) -> float:
        """The time of the clock at which a renewal was acknowledged last."""
        return self.context.answered_at

    def election(self, key: str) -> Election:
        """The store's own election of the key, or the default one where it brings none.

        The same object for as long as anything refers to it: it keeps what its claims have done.
        """
        with self._electing:
            election = self._elections.get(key)
            if election is None:
                election = self._elections.setdefault(key, election_of(self.backend, key))
            return election

    def expires_within(self, ttl: float) -> float:
        """Seconds after its last renewal by which a session of that ttl is gone."""
        return expires_within(self.backend, ttl)

    def add(self, participant: Participant) -> None:
        """Let `close` stop it.

        Raises:
            StoreClosed: `close` has begun.
        """
        self._participants.add(participant)
        if self._closing:  # read afterwards: `begin_close` finds the participant, or this finds it
            self._participants.discard(participant)
            raise StoreClosed("the store is closed")

    def remove(self, participant: Participant) -> None:
        """Note that it has stopped."""
        self._participants.discard(participant)

    @property
    def closing(self) -> bool:
        """Whether its candidates and followers are being stopped, or are."""
        return self._closing

    def begin_close(self) -> list[Participant]:
        """Let all candidates and followers begin to stop, without waiting; returns them."""
        self._closing = True
        participants = list(snapshot(self._participants))
        for participant in participants:
            participant.begin_stop()
        if participants:
            with suppress(NotApplied):  # no thread can be started now
                self.scheduler.call_later(_LEAVING_SECONDS, self._close_left_sessions)
        return participants

    def _close_left_sessions(self) -> None:
        """Close the sessions whose claims all wait for their withdrawal, which withdraws them at once."""
        for keeper in list(self.sessions.all):
            waits = _RELEASE_THREADS < len(keeper.users) <= _MOST_AT_ONCE
            if waits and keeper.only_withdraws:
                self.sessions.close(keeper)
        if self._participants:
            self.scheduler.call_later(_LEAVING_SECONDS, self._close_left_sessions)

    def is_held_up_here(self) -> bool:
        """Whether the calling code, a signal handler, has interrupted what `close` would wait for.

        That is the start of a thread, a request of the user's, or the work of a leader.
        """
        return self.is_interrupted_here() or any(
            one.works_here for one in snapshot(self._participants)
        )

    def is_interrupted_here(self) -> bool:
        """Whether the calling code, a signal handler, has interrupted this engine in its thread.

        That is the start of a thread or a request of the user's. The work of a leader does not
        count: another candidate can be waited for in it.
        """
        return interrupts(self) or self.scheduler.starts_here

    def present(self) -> Iterator[Record]:
        """Records of the present state of all participants, for an observer that is registered now."""
        for participant in snapshot(self._participants):
            yield from participant.present()

    def has_left(self) -> bool:
        """Whether there is no candidate, follower or session any more."""
        return not self._participants and not self.sessions.all

    def close(self, until: float) -> bool:
        """Stop all candidates and followers, close the sessions, and end the threads.

        May be called again, after an interrupt.

        Args:
            until: a time of the clock. What has not ended by then is left behind.

        Returns:
            Whether the store has confirmed that everything is released.
        """
        end = until
        until -= min(_LAST_STEPS, _left(end) / 10)
        participants = self.begin_close()
        released = True
        for participant in participants:
            released &= participant.await_stop(_left(until))
        keepers = list(self.sessions.all)
        for keeper in keepers:
            # Work that has not ended keeps its claim: no other may be elected before the ttl.
            keeper.release(abandon=any(user.working for user in list(keeper.users)))
        for keeper in keepers:
            self.context.time_source.waiting_for_store(
                keeper.closed.changed, keeper.closed.is_set, _left(until)
            ).block()
        released &= all(keeper.confirmed_closed for keeper in keepers if keeper.session)
        self.cleaner.close(until)
        self.closed.set()
        for participant in participants:
            participant.abandon()
        self.scheduler.close(max(_LEAST, min(_LAST_STEPS, _left(end))))
        for workers in (self.context.requests, self.context.releases):
            workers.close(max(_LEAST, min(_LAST_STEPS, _left(end))))
        try:
            with call_timeout(max(_LEAST, _left(end))):
                self.backend.close()
        except Exception:
            log.exception("store.close_failed")
            released = False
        return released

    def end_in_child(self) -> None:
        """Make everything inert in a forked child, which has none of the threads.

        No lock is taken: a thread that does not exist here may have held it at the fork.
        """
        self.forked = True
        for keeper in list(self.sessions.all):
            keeper.lease.end(LostReason.EXPIRED)  # the session is the parent process's
        hook = getattr(self.backend, "after_fork_in_child", None)
        if hook is not None:
            try:
                hook()
            except Exception:
                log.exception("store.fork_hook_failed")
