"""The removal of one orphaned claim: a claim whose enter or withdrawal has an unknown outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..backend.protocols import Claim, Election
from ..errors import ConfigurationError, SessionLost, StoreError
from ..events import LostReason
from .backoff import Backoff, max_backoff
from .context import EngineContext
from .executors import call
from .session_keeper import SessionKeeper
from .timing import request_limit

__all__ = ["ClaimReaper"]

log: logging.Logger = logging.getLogger("leadership.session")


class ClaimReaper:
    """Withdraws the claim until it is gone, or until its session is.

    Everything happens in the scheduler's thread but the requests.

    Args:
        context: whose scheduler and threads to use.
        keeper: of the session that holds the claim.
        election: which the claim is in.
        claim: which.
        on_gone: called in the scheduler's thread at the end, with whether the store has
            confirmed that the claim is gone; where it has not, once more when it does.
    """

    def __init__(
        self,
        context: EngineContext,
        keeper: SessionKeeper,
        election: Election,
        claim: Claim,
        on_gone: Callable[[bool], None],
    ) -> None:
        self._context = context
        self._keeper = keeper
        self._election = election
        self._claim = claim
        self._on_gone = on_gone
        self._backoff = Backoff(max_backoff(keeper.lease.effective_ttl), context.rng, eager=True)
        self._failing_since: float | None = None
        keeper.occupied.add(claim.key)

    def run(self) -> None:
        """Try to withdraw the claim now; tries again later unless it is gone for good."""
        if self._keeper.ended or self._keeper.closing:
            self._keeper.when_closed(self._finish_with_session)
            return
        post, claim, store = self._context.scheduler.post, self._claim, self._context.store

        def withdraw() -> None:
            try:
                limit = self._keeper.lease.request_limit()
                call(limit, lambda: self._election.withdraw(claim), store, "withdraw", claim.key)
            except SessionLost:
                post(self._finish)
            except (StoreError, ConfigurationError) as error:
                log.debug("claim.still_orphaned", extra={"key": claim.key, "error": str(error)})
                post(lambda: self._tried(withdrawn=False))
            else:
                post(lambda: self._tried(withdrawn=True))

        self._context.releases.submit(withdraw)

    def _tried(self, *, withdrawn: bool) -> None:
        now, lease = self._context.time_source.now(), self._keeper.lease
        wait = lease.effective_ttl / 3
        if withdrawn:
            self._failing_since = None
            if self._claim.settled:
                self._finish()
                return
            # It is not there, but the request that makes it may still be on its way.
        else:
            if self._failing_since is None:
                self._failing_since = now
            if now - self._failing_since > lease.effective_ttl and lease.is_valid(now):
                # Renewals succeed and the withdrawal does not: only the session's end frees the key.
                log.warning(
                    "a session was given up, because a claim of %s could not be withdrawn",
                    self._claim.key,
                )
                self._keeper.expire(LostReason.SESSION_LOST)
            wait = min(self._backoff.next(), wait)
        self._context.scheduler.call_later(wait, self.run)

    def _finish(self, confirmed: bool = True) -> None:
        self._keeper.occupied.remove(self._claim.key)
        self._on_gone(confirmed)

    def _finish_with_session(self) -> None:
        """Finish because the session is closed, which is confirmed for the claim if it is for the session.

        Else the session is closed again now and then: a later `stop` reports whether anything is left.
        """
        keeper, scheduler, requests = self._keeper, self._context.scheduler, self._context.requests
        session = keeper.session
        self._finish(keeper.confirmed_closed)
        if session is None or keeper.confirmed_closed or keeper.abandoned:
            return  # an abandoned one is left to its ttl, as work under it may go on

        def close() -> None:
            try:
                limit = request_limit(keeper.lease.effective_ttl)
                call(limit, session.close, self._context.store, "close_session")
            except SessionLost:
                scheduler.post(ended)
            except (StoreError, ConfigurationError):
                scheduler.post(close_later)
            else:
                scheduler.post(ended)

        def close_later() -> None:
            scheduler.call_later(self._backoff.next(), lambda: requests.submit(close))

        def ended() -> None:
            keeper.confirmed_closed = True
            self._on_gone(keeper.confirmed_closed)

        close_later()
