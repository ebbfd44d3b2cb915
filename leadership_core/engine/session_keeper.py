"""One session at the store: the thread that opens, renews and closes it, and its users."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from ..backend.capabilities import expires_within
from ..backend.event_count import EventCount, Flag, Waits
from ..backend.protocols import Session
from ..backend.text import one_line
from ..backend.validation import LONGEST_WAIT
from ..errors import (
    ConfigurationError,
    PluginError,
    SessionLost,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from ..events import LostReason
from . import messages
from .backoff import Backoff, max_backoff
from .context import EngineContext
from .executors import call, log_exception
from .instrumentation import ObservedRenewal
from .lease import Lease
from .occupied_keys import OccupiedKeys
from .scheduler import Timer
from .timing import request_limit

__all__ = ["SessionKeeper", "SessionUser"]

log: logging.Logger = logging.getLogger("leadership.session")


class SessionUser(Protocol):
    """A candidate, as its session knows it: `CandidateDriver`, which imports this module."""

    @property
    def working(self) -> bool:
        """Whether work of an ended term of it may still be going on."""

    @property
    def withdrawing(self) -> bool:
        """Whether its claim is being withdrawn."""

    def handle(self, message: messages.Input) -> None:
        """Step the candidate's state machine; only in the scheduler's thread."""


class SessionKeeper:
    """Opens a session, renews it as long as it has users, and closes it.

    `users` and `occupied` belong to the scheduler's thread; the thread of this object
    only makes requests and posts their outcome.

    Args:
        context: whose store and scheduler to use.
        requested_ttl: seconds to ask for.
        margin: the user's choice in seconds, or None.
        on_end: called with this in the scheduler's thread when the session takes no more users.
        on_gone: called with this in the scheduler's thread when nothing of it is left at the store.

    Attributes:
        lease: its validity.
        session: of the backend; None until it is open.
        users: the candidates that use it, in the order in which they came.
        occupied: the keys of requests to enter that are under way, and of claims bound to it whose removal
            is not confirmed.
        failure: of the last try to open or renew it; None if that was answered.
        ready: a renewal was acknowledged, and the users have `SessionReady`.
        ended: the lease is over, and the users have `LeaseEnded`.
        confirmed_closed: the store has confirmed that the session is gone.
        closed: set once the thread has done all it could.
    """

    def __init__(
        self,
        context: EngineContext,
        requested_ttl: float,
        margin: float | None,
        *,
        on_end: Callable[[SessionKeeper], None],
        on_gone: Callable[[SessionKeeper], None],
    ) -> None:
        self.lease: Lease = Lease(
            requested_ttl,
            margin=margin,
            least_margin=context.least_margin,
            rng=context.rng,
            now=context.time_source.clock,
        )
        self.session: Session | None = None
        self.users: dict[SessionUser, None] = {}
        self.occupied: OccupiedKeys = OccupiedKeys()
        self.failure: StoreUnavailable | None = None
        self.ready: bool = False
        self.ended: bool = False
        self.confirmed_closed: bool = False
        self.closed: Flag = Flag()
        self._context = context
        self._time_source = context.time_source
        self._work: AbstractContextManager[object] = nullcontext()  # of the thread
        self._post = context.scheduler.post
        self._requested_ttl = requested_ttl
        self._logged_ttl = requested_ttl
        self._on_end = on_end
        self._on_gone = on_gone
        self._closing = Flag()
        self._abandoned = False
        self._opened_at = 0.0
        self._late = 0.0  # seconds by which the last wait has ended too late
        self._when_closed: list[Callable[[], None]] = []
        self._changed = EventCount()
        self._hurry = False
        self._deadline_timer: Timer | None = None
        self._thread = threading.Thread(target=self._run, name="leadership-renew", daemon=True)

    @property
    def closing(self) -> bool:
        """Whether it is being closed, or is closed."""
        return self._closing.is_set()

    @property
    def abandoned(self) -> bool:
        """Whether it is left to its ttl, and not closed at the store."""
        return self._abandoned

    @property
    def only_withdraws(self) -> bool:
        """Whether all its users withdraw their claims, so that it may be closed in place of that."""
        delays = self.session is None or getattr(self.session, "closing_delays_others", False)
        return not delays and not self.closing and all(user.withdrawing for user in self.users)

    def can_enter(self, key: str) -> bool:
        """Whether the candidate that has the turn for the key may make a claim with this session.

        Not if the lease is over, which the users may not know yet, or if an orphaned claim may be bound to it.
        """
        return key not in self.occupied and self.lease.check() is None

    def start(self) -> None:
        """Start its thread.

        Raises:
            RuntimeError: there can be none now; this session is of no use any more.
        """
        self._work = self._time_source.begin_work()
        try:
            self._thread.start()
        except BaseException:
            self._work.__exit__(None, None, None)
            self.closed.set()
            raise

    def release(self, *, abandon: bool = False) -> None:
        """Close the session once the request that is under way has ended; does not wait.

        With `abandon`, only stop to renew it, and leave it to its ttl.
        """
        self._abandoned |= abandon
        self._closing.set()
        self._changed.notify_all()

    def when_closed(self, task: Callable[[], None]) -> None:
        """Run the task once `closed` is set; only in the scheduler's thread."""
        if self.closed.is_set():
            task()
        else:
            self._when_closed.append(task)

    def renew_now(self, least: float, timeout: float) -> Waits[None]:
        """Renew, and wait until `least` seconds are left, or it is over, or `timeout` has passed."""
        self._hurry = True
        self._changed.notify_all()
        yield self._time_source.waiting_for_store(
            self._changed,
            lambda: self.lease.remaining() >= least or self.lease.check() is not None,
            timeout,
        )

    def on_lost(self) -> None:
        """Note that the store has ended the session; only in the scheduler's thread."""
        self.confirmed_closed = True
        self.expire(LostReason.SESSION_LOST)

    def expire(self, reason: LostReason) -> None:
        """End the lease; only in the scheduler's thread."""
        self.lease.end(reason)
        self._end()

    # -- in the thread of the session --------------------------------------------------------

    def _run(self) -> None:
        with self._work:
            self._keep()

    def _keep(self) -> None:
        try:
            self._open()
            while self.session is not None and not self._closing.is_set():
                self._renew(self.session)
                if self.lease.ended_reason is not None:
                    break
                self._wait_until(self.lease.renew_at)
            if self._late and self._closing.is_set():  # the users have noticed the end before
                store, now = self._context.store, self._time_source.now()
                ObservedRenewal(store, self.lease, now, self._late).report_unsent()
            self._close()
        except BaseException:  # noqa: BLE001  # no memory, or a mistake of the plugin
            self.lease.end(LostReason.EXPIRED)
            log_exception(log, "session.failed")
        finally:
            self.closed.set()
            self._post(self._finish)
            self._changed.notify_all()

    def _wait_until(self, when: float) -> None:
        source = self._time_source
        begun = source.now()
        source.wait_for(self._changed, lambda: self._hurry or self._closing.is_set(), when - begun)
        self._late = max(0.0, source.now() - max(begun, when))
        self._hurry = False

    def _open(self) -> None:
        backoff = Backoff(max_backoff(self._requested_ttl), self._context.rng)
        while not self._closing.is_set():
            self._opened_at = self._time_source.now()
            try:
                self.session = call(
                    request_limit(self._requested_ttl),
                    lambda: self._context.backend.open_session(self._requested_ttl),
                    self._context.store,
                    "open_session",
                )
            except (StoreError, ConfigurationError) as error:
                # A session that is ended while it is being opened is no reason to open none; a
                # refusal is one, unless the store has worked before.
                refused = isinstance(error, StoreRefused) and not self._context.has_worked
                if refused or not isinstance(error, StoreUnavailable | SessionLost):
                    self._reject(error)
                    return
                self._report(error)
                self._wait_for(self._closing, backoff.next())
            else:
                return

    def _wait_for(self, flag: Flag, seconds: float) -> bool:
        return self._time_source.wait_for(flag.changed, flag.is_set, seconds)

    def _renew(self, session: Session) -> None:
        sent = self._time_source.now()
        if not self.lease.acknowledged and sent - self._opened_at > self._requested_ttl:
            self.lease.end(LostReason.EXPIRED)
        if self.lease.check() is not None:
            # Not renewed again: the store might keep it, and its claims, without end.
            ObservedRenewal(self._context.store, self.lease, sent, self._late).report_unsent()
            self._post(self._end)
            return
        try:
            with ObservedRenewal(self._context.store, self.lease, sent, self._late):
                limit = self.lease.request_limit()
                ttl = call(limit, session.renew, self._context.store, "renew")
                in_time = self.lease.acknowledge(sent, ttl)
        except SessionLost:
            self.confirmed_closed = True
            self.lease.end(LostReason.SESSION_LOST)
            self._post(self._end)
        except ConfigurationError as error:
            self._reject(error)
        except StoreError as error:
            self.lease.schedule_retry()
            self._report(error)
        else:
            if ttl != self._logged_ttl:
                self._logged_ttl = ttl
                log.warning(
                    "the store granted a ttl of %g s instead of %g s", ttl, self._requested_ttl
                )
            self._post(self._acknowledged if in_time else self._end)
        self._changed.notify_all()

    def _close(self) -> None:
        """Close it at the store, as well as can be.

        A session whose lease is over waits for the work that its users may still be doing, at most
        until the store will have ended it anyway. A store that is away is asked until it is back: one
        that was restarted counts the session's ttl from its start, and no one leads meanwhile.
        """
        if self.session is None:
            return
        granted_ttl = self.lease.granted_ttl
        try:
            outlives = min(expires_within(self._context.backend, granted_ttl), LONGEST_WAIT)
        except PluginError:
            log_exception(log, "store.unexpected_error")
            outlives = granted_ttl
        self._wait_for(self._closing, outlives)
        if self._abandoned:
            return
        self.lease.end(LostReason.EXPIRED)
        begun = self._time_source.now()
        # More slowly than a new one is opened meanwhile: a store that rejects all requests gets
        # those of both.
        backoff = Backoff(min(5.0, self._requested_ttl), self._context.rng)
        while True:
            try:
                limit = request_limit(self._requested_ttl)
                call(limit, self.session.close, self._context.store, "close_session")
            except SessionLost:
                self.confirmed_closed = True
                return
            except (StoreError, ConfigurationError) as error:
                log.debug("session.close_failed", extra={"error": str(error)})
                # A store that has been answering for so long has ended the session by itself; one
                # that was away may count from when it is back.
                now = self._time_source.now()
                if now - self._context.answered_at > self._requested_ttl:
                    begun = now
                over = now - begun > outlives
                if over or self._wait_for(self._context.closed, backoff.next()):
                    return
            else:
                self.confirmed_closed = True
                return

    def _reject(self, error: Exception) -> None:
        self.lease.end(LostReason.SESSION_LOST)
        self._post(lambda: self._broadcast(messages.SessionRejected(error)))
        self._post(self._end)

    def _report(self, error: Exception) -> None:
        failure = error if isinstance(error, StoreUnavailable) else StoreUnavailable(str(error))

        def failed() -> None:
            if self.failure is None:
                log.warning("the store is down: %s", one_line(failure))
            self.failure = failure
            self._broadcast(messages.RenewalFailed(failure))

        self._post(failed)

    # -- in the scheduler's thread -----------------------------------------------------------

    def _broadcast(self, message: messages.Input) -> None:
        for user in list(self.users):
            if user not in self.users:
                continue  # the message to another user has moved it to another session
            try:
                user.handle(message)
            except BaseException:  # noqa: BLE001  # it recovers by itself; the others need the message, too
                log_exception(log, "engine.task_failed")

    def _acknowledged(self) -> None:
        self._context.has_worked = True
        self._context.answered_at = self._time_source.now()
        if self.ended:
            return
        if not self.ready:
            self.ready = True
            self._guard_deadline()
            self._broadcast(messages.SessionReady(self.lease))
        if self.failure is not None:
            self.failure = None
            self._broadcast(messages.Renewed())

    def _guard_deadline(self) -> None:
        """End the lease in time even if a request hangs in the other thread."""
        if self.ended:
            return
        if self.lease.check() is None:
            call_at = self._context.scheduler.call_at
            self._deadline_timer = call_at(self.lease.deadline, self._guard_deadline)
        else:
            self._end()

    def _end(self) -> None:
        """Report the end of the lease to all users, once: the only report of a lost session."""
        if self.ended:
            return
        self.ended = True
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()  # it may be hours away, and would keep all this in memory
        self._on_end(self)
        reason = self.lease.check() or LostReason.EXPIRED  # a session that closes has no other end
        self._broadcast(messages.LeaseEnded(self.lease, reason))
        self._changed.notify_all()

    def _finish(self) -> None:
        self._end()
        if self.session is None or self.confirmed_closed:
            self._on_gone(self)
        tasks, self._when_closed = self._when_closed, []
        for task in tasks:
            task()
