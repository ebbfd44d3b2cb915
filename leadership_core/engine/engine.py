"""The engine of one open store."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Protocol
from weakref import WeakValueDictionary

from .. import clock
from ..budget import budget
from ..capabilities import capabilities_of
from ..errors import StoreClosed
from ..eventcount import Flag, snapshot
from ..optional import (
    election_of,
    expires_within,
    least_margin_of,
    prefix_of,
)
from ..reentry import interrupts
from ..store import Election, Store
from ..timing import LONGEST_TTL
from .leftovers import Leftovers
from .scheduler import Scheduler
from .sessions import Sessions
from .workers import Workers

__all__ = ["Engine"]

log = logging.getLogger("leadership.engine")

_REQUEST_THREADS = 4


_LAST_STEPS = 0.2  # seconds that are kept for the threads to end, at most a tenth of the time
_LEAST = 0.02  # seconds for each of the last steps even if there is no time left


def _left(until: float) -> float:
    return max(0.0, until - clock.now())


class Member(Protocol):
    """A candidate or a follower, as its engine knows it."""

    def begin_stop(self) -> None:
        """Start to leave for good; does not wait."""

    def await_stop(self, timeout: float) -> bool:
        """Wait until it has left; False if that takes longer."""

    def abandon(self) -> None:
        """Give up waiting for the store: whoever iterates over it comes to the end."""

    @property
    def works_here(self) -> bool:
        """Whether the calling thread is the one that works for its latest term."""


class Engine:
    """The threads, the sessions and the members of one open store.

    Args:
        backend: the store of a plugin.
    """

    def __init__(self, backend: Store) -> None:
        self.backend = backend
        self.capabilities = capabilities_of(backend)
        self.prefix = prefix_of(backend)
        self.least_margin = least_margin_of(backend)
        expires_within(backend, LONGEST_TTL)  # a plugin's mistake is said at `open_store`
        self.rng = random.Random()
        self.has_worked = False  # the store has answered at least once
        self.answered_at = clock.now()  # when a renewal was acknowledged last
        self.forked = False  # this process is a child of the one that opened it
        self.closed = Flag()
        self.scheduler = Scheduler("leadership-scheduler")
        self.requests = Workers("leadership-request", _REQUEST_THREADS, self._call_later)
        self.releases = Workers("leadership-release", 1, self._call_later)
        self.sessions = Sessions(self)
        self.leftovers = Leftovers(self)
        self._elections: WeakValueDictionary[str, Election] = WeakValueDictionary()
        self._electing = threading.RLock()  # users' threads only: a signal handler may get in
        self._members: set[Member] = set()
        self._closing = False

    def election(self, key: str) -> Election:
        """The store's own election of the key, or the default one where it brings none.

        The same object for as long as anything refers to it: what its claims have done is in it.
        """
        with self._electing:
            election = self._elections.get(key)
            if election is None:
                election = self._elections.setdefault(key, election_of(self.backend, key))
            return election

    def _call_later(self, seconds: float, task: Callable[[], None]) -> None:
        self.scheduler.call_at(clock.now() + seconds, task)

    def expires_within(self, ttl: float) -> float:
        """Seconds after its last renewal by which a silent session of that ttl is gone."""
        return expires_within(self.backend, ttl)

    def add(self, member: Member) -> None:
        """Let `close` stop it; raises `StoreClosed` if that has begun."""
        self._members.add(member)
        if self._closing:  # looked at afterwards: `begin_close` sees the member, or this sees it
            self._members.discard(member)
            raise StoreClosed("the store is closed")

    def remove(self, member: Member) -> None:
        """It has stopped."""
        self._members.discard(member)

    @property
    def closing(self) -> bool:
        """Whether its candidates and followers are being stopped, or are."""
        return self._closing

    def begin_close(self) -> list[Member]:
        """Let all candidates and followers start to stop; returns them."""
        self._closing = True
        members = list(snapshot(self._members))
        for member in members:
            member.begin_stop()
        return members

    def is_held_up_here(self) -> bool:
        """Whether the calling code has interrupted what its members or requests wait for.

        That is the start of a thread, a request of the user's, or the work of a leader.
        """
        return (
            interrupts(self)
            or self.scheduler.starts_here
            or any(member.works_here for member in snapshot(self._members))
        )

    def has_left(self) -> bool:
        """Whether there is no candidate, follower or session any more."""
        return not self._members and not self.sessions.all

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
        members = self.begin_close()
        released = True
        for member in members:
            released &= member.await_stop(_left(until))
        released &= self._close_sessions(until)
        self.leftovers.close(until)
        self.closed.set()
        for member in members:
            member.abandon()
        self.scheduler.close(max(_LEAST, min(_LAST_STEPS, _left(end))))
        for workers in (self.requests, self.releases):
            workers.close(max(_LEAST, min(_LAST_STEPS, _left(end))))
        try:
            with budget(max(_LEAST, _left(end))):
                self.backend.close()
        except Exception:
            log.exception("store.close_failed")
            released = False
        return released

    def _close_sessions(self, until: float) -> bool:
        sessions = list(self.sessions.all)
        for leased in sessions:
            # Work that will not end keeps its claim: nobody else may be elected before the ttl.
            leased.release(leave=any(user.working for user in list(leased.users)))
        for leased in sessions:
            leased.closed.wait(_left(until))
        return all(leased.ended_at_store for leased in sessions if leased.session)

    def end_in_child(self) -> None:
        """Make everything inert in a forked child, which has none of the threads.

        No lock is taken: a thread that does not exist here may have held it at the fork.
        """
        self.forked = True
        for leased in list(self.sessions.all):
            leased.lease.end_in_child()
        hook = getattr(self.backend, "after_fork_in_child", None)
        if hook is not None:
            try:
                hook()
            except Exception:
                log.exception("store.fork_hook_failed")
