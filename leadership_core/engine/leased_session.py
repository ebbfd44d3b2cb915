"""One session at the store, the thread that renews it, and who uses it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .. import clock
from ..errors import (
    ConfigurationError,
    PluginError,
    SessionLost,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from ..eventcount import EventCount, Flag
from ..events import LostReason
from ..lease import Lease
from ..machine import happenings as on
from ..store import Claim, Session
from ..text import one_line
from ..timing import LONGEST_WAIT, Backoff, request_limit, retry_cap
from .calls import call
from .complaints import complain

if TYPE_CHECKING:
    from .engine import Engine
    from .scheduler import Timer

__all__ = ["LeasedSession", "User"]

log = logging.getLogger("leadership.session")


class User(Protocol):
    """A candidate, as its session knows it."""

    key: str

    @property
    def working(self) -> bool:
        """Whether work of an ended term of it may still be going on."""

    def happened(self, happening: on.Happening) -> None:
        """Take it in; only in the scheduler's thread."""


class LeasedSession:
    """Opens a session, renews it as long as it has users, and closes it.

    `users` and `keys` belong to the scheduler's thread; the thread of this object only makes
    requests and posts what came of them.

    Args:
        engine: whose store and scheduler to use.
        ttl: seconds to ask for.
        margin: the user's choice, or None.
        on_end: called in the scheduler's thread when the session takes no more users.
    """

    def __init__(
        self, engine: Engine, ttl: float, margin: float | None, on_end: Callable[[], None]
    ) -> None:
        self.lease = Lease(ttl, margin=margin, least_margin=engine.least_margin, rng=engine.rng)
        self.session: Session | None = None
        self.users: set[User] = set()
        self.keys: set[str] = set()  # of the users
        self.loose: set[Claim] = set()  # claims that nobody wants and that may still stand
        self.ready = False
        self.ended = False  # the lease is over
        self.ended_at_store = False  # and the store has confirmed that the session is, too
        self.closed = Flag()  # the thread has done all it could
        self._engine = engine
        self._ttl = ttl
        self._on_end = on_end
        self._granted = ttl
        self._trouble = False
        self._closing = Flag()
        self._leave = False
        self._opened_at = 0.0
        self._when_closed: list[Callable[[], None]] = []
        self._changed = EventCount()
        self._hurry = False
        self._deadline_timer: Timer | None = None
        self._thread = threading.Thread(target=self._run, name="leadership-renew", daemon=True)

    @property
    def closing(self) -> bool:
        """Whether it is being closed, or is closed."""
        return self._closing.is_set()

    def has(self, key: str) -> bool:
        """Whether a claim for the key is, or may be, bound to this session."""
        return key in self.keys or any(claim.key == key for claim in self.loose)

    def start(self) -> None:
        """Start its thread.

        Raises:
            RuntimeError: there can be none now; this session is of no use any more.
        """
        try:
            self._thread.start()
        except BaseException:
            self.closed.set()
            raise

    def release(self, *, leave: bool = False) -> None:
        """Close the session once the request that is under way has ended.

        With `leave`, only stop to renew it, and leave it to its ttl.
        """
        self._leave |= leave
        self._closing.set()
        self._wake()

    def when_closed(self, task: Callable[[], None]) -> None:
        """Run the task once `closed` is set; only in the scheduler's thread."""
        if self.closed.is_set():
            task()
        else:
            self._when_closed.append(task)

    def renew_now(self, least: float, timeout: float) -> None:
        """Renew and wait until `least` seconds are left, or it is over, or `timeout` has passed."""
        self._hurry = True
        self._changed.notify_all()
        self._changed.wait_for(
            lambda: self.lease.remaining() >= least or self.lease.over is not None, timeout
        )

    def lost(self) -> None:
        """The store has said that the session is gone; only in the scheduler's thread."""
        self.ended_at_store = True
        self.give_up(LostReason.SESSION_LOST)

    def give_up(self, reason: LostReason) -> None:
        """End the lease; only in the scheduler's thread."""
        self.lease.end(reason)
        self._end()

    def tell(self, happening: on.Happening) -> None:
        """Tell all users; only in the scheduler's thread."""
        for user in list(self.users):
            user.happened(happening)

    # -- in the thread of the session --------------------------------------------------------

    def _run(self) -> None:
        try:
            self._open()
            while self.session is not None and not self._closing.is_set():
                self._renew(self.session)
                if self.lease.over is not None:
                    break
                self._wait_until(self.lease.renew_at)
            self._close()
        except BaseException:  # noqa: BLE001  # no memory, or a mistake of the plugin
            self.lease.end(LostReason.EXPIRED)
            complain(log, "session.failed")
        finally:
            self.closed.set()
            self._post(self._told_closed)
            self._wake()

    def _open(self) -> None:
        backoff = Backoff(retry_cap(self._ttl), self._engine.rng)
        while not self._closing.is_set():
            self._opened_at = clock.now()
            try:
                self.session = call(
                    request_limit(self._ttl), lambda: self._engine.backend.open_session(self._ttl)
                )
            except (StoreError, ConfigurationError) as error:
                if not self._may_retry(error):
                    self._refuse(error)
                    return
                self._report(error)
                self._closing.wait(backoff.next())
            else:
                return

    def _may_retry(self, error: Exception) -> bool:
        if isinstance(error, StoreRefused):
            return self._engine.has_worked
        # A session that is ended while it is being opened is no reason to open none.
        return isinstance(error, StoreUnavailable | SessionLost)

    def _renew(self, session: Session) -> None:
        sent = clock.now()
        if not self.lease.acknowledged and sent - self._opened_at > self._ttl:
            self.lease.end(LostReason.EXPIRED)
        if self.lease.over is not None or (self.lease.acknowledged and not self.lease.holds()):
            self._post(self._end)  # dead to us: a renewal might keep it at the store for ever
            return
        try:
            ttl = call(self.lease.request_limit(), session.renew)
            in_time = self.lease.acknowledge(sent, ttl)
        except SessionLost:
            self.ended_at_store = True
            self.lease.end(LostReason.SESSION_LOST)
            self._post(self._end)
        except ConfigurationError as error:
            self._refuse(error)
        except StoreError as error:
            self.lease.fail()
            self._report(error)
        else:
            self._note_ttl(ttl)
            self._post(self._acknowledged if in_time else self._end)
        self._wake()

    def _note_ttl(self, granted: float) -> None:
        if granted != self._granted:
            self._granted = granted
            log.warning(
                "the store granted a ttl of %g s where %g s were asked for", granted, self._ttl
            )

    def _wait_until(self, when: float) -> None:
        self._changed.wait_for(lambda: self._hurry or self._closing.is_set(), when - clock.now())
        self._hurry = False

    def _close(self) -> None:
        """Close it at the store, as well as can be.

        A session that is dead to us waits for the work that its users may still be doing, at
        most until the store will have ended it anyway. A store that is away is tried until it
        is back: one that was restarted counts the session's ttl anew, and nobody leads meanwhile.
        """
        if self.session is None:
            return
        try:
            outlives = min(self._engine.expires_within(self.lease.granted), LONGEST_WAIT)
        except PluginError:
            complain(log, "store.unexpected_error")
            outlives = self.lease.granted
        self._closing.wait(outlives)
        if self._leave:
            return
        self.lease.end(LostReason.EXPIRED)
        begun = clock.now()
        # More slowly than a new one is opened meanwhile: a store that turns away all requests gets
        # those of both.
        backoff = Backoff(min(5.0, self._ttl), self._engine.rng)
        while True:
            try:
                call(request_limit(self._ttl), self.session.close)
            except SessionLost:
                self.ended_at_store = True
                return
            except (StoreError, ConfigurationError) as error:
                log.debug("session.close_failed", extra={"error": str(error)})
                # A store that has been answering for so long has ended the session by itself; one
                # that was away may count anew from when it is back.
                now = clock.now()
                if now - self._engine.answered_at > self._ttl:
                    begun = now
                over = now - begun > outlives
                if over or self._engine.closed.wait(backoff.next()):
                    return
            else:
                self.ended_at_store = True
                return

    def _refuse(self, error: Exception) -> None:
        self.lease.end(LostReason.SESSION_LOST)
        self._post(lambda: self.tell(on.Refused(error)))
        self._post(self._end)

    def _report(self, error: Exception) -> None:
        if not isinstance(error, StoreUnavailable):
            error = StoreUnavailable(str(error))
        self._post(lambda: self._failed(error))

    def _post(self, task: Callable[[], None]) -> None:
        self._engine.scheduler.post(task)

    def _wake(self) -> None:
        self._changed.notify_all()

    # -- in the scheduler's thread -----------------------------------------------------------

    def _acknowledged(self) -> None:
        self._engine.has_worked = True
        self._engine.answered_at = clock.now()
        if self.ended:
            return
        if not self.ready:
            self.ready = True
            self._guard_deadline()
            self.tell(on.Joined(self.lease))
        if self._trouble:
            self._trouble = False
            self.tell(on.Renewed())

    def _guard_deadline(self) -> None:
        """End the lease in time even if a request hangs in the other thread."""
        if self.ended:
            return
        if self.lease.holds():
            call_at = self._engine.scheduler.call_at
            self._deadline_timer = call_at(self.lease.deadline, self._guard_deadline)
        else:
            self._end()

    def _failed(self, error: StoreUnavailable) -> None:
        if not self._trouble:
            log.warning("the store is down: %s", one_line(error))
        self._trouble = True
        self.tell(on.RenewalFailed(error))

    def _told_closed(self) -> None:
        self._end()
        if self.session is None or self.ended_at_store:
            self._engine.sessions.forget(self)
        tasks, self._when_closed = self._when_closed, []
        for task in tasks:
            task()

    def _end(self) -> None:
        if self.ended:
            return
        self.lease.holds()  # notes that it has expired, if that is why
        self.ended = True
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()  # it may be hours away, and would keep all this in memory
        self._on_end()
        self.tell(on.LeaseOver(self.lease))
        self._wake()
