"""Which candidate uses which session.

Candidates with the same ttl share one. A session enters a key once: a second candidate for
it, or one whose earlier claim there is loose, gets another session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import clock
from ..errors import ConfigurationError, SessionLost, StoreError
from ..events import LostReason
from ..machine import happenings as on
from ..store import Claim, Election, Session
from ..timing import Backoff, request_limit, retry_cap
from .calls import call
from .leased_session import LeasedSession, User

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Sessions"]

log = logging.getLogger("leadership.session")


class Sessions:
    """The sessions of one store; used in the scheduler's thread only.

    Args:
        engine: whose store, scheduler and workers to use.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: dict[tuple[float, float | None], list[LeasedSession]] = {}
        self.all: set[LeasedSession] = set()  # also those that are being closed

    def join(self, user: User, ttl: float, margin: float | None) -> LeasedSession:
        """Let the user share a session, and tell it `Joined` when the session is ready."""
        group = self._open.get((ttl, margin), ())
        leased = next((one for one in group if not one.has(user.key)), None)
        if leased is None:
            leased = self._start(ttl, margin)
        leased.users.add(user)
        leased.keys.add(user.key)
        if leased.ready:
            user.happened(on.Joined(leased.lease))
        return leased

    def part(self, user: User, leased: LeasedSession) -> None:
        """The user is done with it; the session closes with its last user."""
        leased.users.discard(user)
        leased.keys.discard(user.key)
        if not leased.users:
            self._retire(leased)
            leased.release()

    def find(self, session: Session) -> LeasedSession | None:
        """Whose it is, if the store has not confirmed its end."""
        mine = (one for one in self.all if one.session is session and not one.ended_at_store)
        return next(mine, None)

    def forget(self, leased: LeasedSession) -> None:
        """Nothing of it is left at the store."""
        self.all.discard(leased)

    def discard(
        self,
        leased: LeasedSession,
        election: Election,
        claim: Claim,
        gone: Callable[[bool], None],
    ) -> None:
        """Look after a claim that nobody wants until it is gone, or its session is.

        Args:
            leased: the session that holds it.
            election: the race that it is in.
            claim: which.
            gone: called in the scheduler's thread at the end, with whether the store has
                confirmed that; where it has not, once more when it does.
        """
        _LooseClaim(self._engine, leased, election, claim, gone).look()

    def _start(self, ttl: float, margin: float | None) -> LeasedSession:
        leased = LeasedSession(self._engine, ttl, margin, on_end=lambda: self._retire(leased))
        self.all = {one for one in self.all if not one.closed.is_set()} | {leased}
        try:
            leased.start()
        except BaseException:
            self.all.discard(leased)
            raise
        self._open.setdefault((ttl, margin), []).append(leased)
        return leased

    def _retire(self, leased: LeasedSession) -> None:
        for key, group in list(self._open.items()):
            if leased in group:
                group.remove(leased)
                if not group:
                    del self._open[key]


class _LooseClaim:
    """A claim whose enter or withdraw ended unknown."""

    def __init__(
        self,
        engine: Engine,
        leased: LeasedSession,
        election: Election,
        claim: Claim,
        gone: Callable[[bool], None],
    ) -> None:
        self._engine = engine
        self._leased = leased
        self._election = election
        self._claim = claim
        self._gone = gone
        self._backoff = Backoff(retry_cap(leased.lease.ttl), engine.rng, eager=True)
        self._failing_since: float | None = None
        leased.loose.add(claim)

    def look(self) -> None:
        """Try to take it away; once more later unless it is gone for good."""
        leased = self._leased
        if leased.ended or leased.closing:
            # It goes with its session, confirmed if the session's end is.
            leased.when_closed(self._session_closed)
        else:
            self._engine.releases.submit(self._try)

    def _try(self) -> None:
        post = self._engine.scheduler.post
        try:
            call(self._leased.lease.request_limit(), lambda: self._election.withdraw(self._claim))
        except SessionLost:
            post(self._done)
        except (StoreError, ConfigurationError) as error:
            log.debug("claim.still_loose", extra={"key": self._claim.key, "error": str(error)})
            post(self._failed)
        else:
            post(self._looked)

    def _looked(self) -> None:
        self._failing_since = None
        if self._claim.settled:
            self._done()
        else:
            # It is not there, but the request that makes it may still be on its way.
            self._later(self._leased.lease.ttl / 3)

    def _failed(self) -> None:
        now, lease = clock.now(), self._leased.lease
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since > lease.ttl and lease.holds():
            # Renewals succeed and the withdrawal does not: only the session's end frees the key.
            log.warning("gave up a session: no way to withdraw a claim of %s", self._claim.key)
            self._leased.give_up(LostReason.SESSION_LOST)
        self._later(min(self._backoff.next(), lease.ttl / 3))

    def _later(self, seconds: float) -> None:
        self._engine.scheduler.call_at(clock.now() + seconds, self.look)

    def _done(self, confirmed: bool = True) -> None:
        self._leased.loose.discard(self._claim)
        self._gone(confirmed)

    def _session_closed(self) -> None:
        leased = self._leased
        self._done(leased.ended_at_store)
        if leased.session is not None and not leased.ended_at_store:
            self._ask_for_its_end(leased.session)

    def _ask_for_its_end(self, session: Session) -> None:
        """Ask now and then: whoever leaves later wants to know whether anything is left."""

        def ask() -> None:
            post = self._engine.scheduler.post
            try:
                call(request_limit(self._leased.lease.ttl), session.close)
            except SessionLost:
                post(self._ended)
            except (StoreError, ConfigurationError):
                post(later)
            else:
                post(self._ended)

        def later() -> None:
            when = clock.now() + self._backoff.next()
            self._engine.scheduler.call_at(when, lambda: self._engine.requests.submit(ask))

        later()

    def _ended(self) -> None:
        self._leased.ended_at_store = True
        self._gone(self._leased.ended_at_store)
