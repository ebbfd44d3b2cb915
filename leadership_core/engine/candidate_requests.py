"""The requests of one candidate for its claim: they are made in the threads of the store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from ..backend.protocols import Claim, ClaimOutcomeUnknown, Election, Leading
from ..errors import (
    ConfigurationError,
    ForkedStore,
    NotApplied,
    SessionLost,
    StoreClosed,
    StoreUnavailable,
)
from . import messages
from .claim_watch import ClaimWatch
from .context import EngineContext
from .early_query import EarlyQuery
from .executors import EXPECTED_ERRORS, call, log_exception
from .session_keeper import SessionKeeper

__all__ = ["CandidateRequests"]

log: logging.Logger = logging.getLogger("leadership.candidate")

InputT = TypeVar("InputT", bound=messages.Input)


class Requester(Protocol):
    """The candidate whose requests they are: `CandidateDriver`, which imports this module."""

    def handle(self, message: messages.Input) -> None:
        """Take an answer; in the scheduler's thread."""

    def enter_ended(self) -> None:
        """Note that a request to enter makes no claim any more; in the scheduler's thread."""


class CandidateRequests:
    """Makes and withdraws claims, and reads and watches their status; used in the scheduler's thread.

    Args:
        context: whose store and threads to use.
        election: which the claims are in.
        key: of the election, with the prefix.
        value: what followers see.
        requester: gets each answer, and is called after the answer to each request to enter.
    """

    __slots__ = (
        *("_context", "_early", "_election", "_entering", "_fresh", "_key", "_requester"),
        *("_value", "_watch"),
    )

    def __init__(
        self,
        context: EngineContext,
        election: Election,
        key: str,
        value: bytes,
        requester: Requester,
    ) -> None:
        self._context, self._election, self._key, self._value = context, election, key, value
        self._requester = requester
        self._entering: dict[int, SessionKeeper] = {}  # by ticket: requests without an answer
        self._fresh = False  # started by the user, and has not entered since
        self._early: EarlyQuery | None = None  # from the first claim that waits on
        self._watch = ClaimWatch(context, election, self)

    @property
    def entering(self) -> int:
        """How many requests to enter may still make a claim."""
        return sum(not one.confirmed_closed for one in list(self._entering.values()))

    def is_entering(self, keeper: SessionKeeper) -> bool:
        """Whether a request to enter with that session is under way."""
        return keeper in self._entering.values()

    def started(self) -> None:
        """Note that the user has started the candidate: its next request to enter is caused by that."""
        self._fresh = True

    def enter(self, keeper: SessionKeeper, ticket: int) -> None:
        """Make a claim; reports `Entered` or `Failed`."""
        fresh, self._fresh = self._fresh, False
        self._context.requests.submit(partial(self._enter, keeper, ticket, fresh))
        self._entering[ticket] = keeper
        keeper.occupied.add(self._key)

    def _enter(self, keeper: SessionKeeper, ticket: int, fresh: bool) -> None:
        """Make a claim; in a thread for requests."""
        message = self._outcome_of(keeper, ticket, partial(self._claim, keeper, ticket, fresh))
        self._context.scheduler.post(partial(self._entered, keeper, ticket, message))

    def _claim(self, keeper: SessionKeeper, ticket: int, fresh: bool) -> messages.Entered:
        session = keeper.session
        assert session is not None

        def enter() -> Claim:
            try:
                if fresh and (started := getattr(self._election, "candidate_started", None)):
                    started()
                return self._election.enter(session, self._value)
            except EXPECTED_ERRORS:
                raise
            except BaseException as error:
                # A mistake of a plugin; the request may have taken effect.
                claim = Claim(self._key, session, self._value, settled=False)
                log_exception(log, "store.unexpected_error")
                raise ClaimOutcomeUnknown(f"{type(error).__name__}: {error}", claim) from error

        limit = keeper.lease.request_limit()
        return messages.Entered(ticket, call(limit, enter, self._context.store, "enter", self._key))

    def _entered(
        self,
        keeper: SessionKeeper,
        ticket: int,
        message: messages.Entered | messages.Failed | None,
    ) -> None:
        keeper.occupied.remove(self._key)  # first: the same session may be used to try again
        try:
            if message is not None:
                self._requester.handle(message)
        finally:
            del self._entering[ticket]  # last: the claim counts by itself from here on
            self._requester.enter_ended()

    def query_status(self, keeper: SessionKeeper, ticket: int, claim: Claim) -> None:
        """Watch the claim, then read its status; reports `StatusReceived` or `Failed`."""
        arm = self._watch.track(claim)
        answer = None if self._early is None else self._early.take(keeper, ticket, claim)
        if answer is not None and not arm:
            self._requester.handle(answer)
            return
        query = partial(self._query, keeper, ticket, claim, arm=arm)
        self._context.requests.submit(lambda: self._make(keeper, ticket, query))

    def _query(
        self, keeper: SessionKeeper, ticket: int, claim: Claim, *, arm: bool
    ) -> messages.StatusReceived:
        if arm:  # before the query, so that no change falls between the two
            woken = self._watch.arm(claim, keeper.lease.request_limit())
            if claim.granted and claim.token is not None and not woken and self._is_covered:
                # The answer that has granted it was linearizable, and the watch has nothing to
                # report since then: a read would show the same.
                return messages.StatusReceived(ticket, Leading(claim.token))
        return self._read(keeper, ticket, claim)

    @property
    def _is_covered(self) -> bool:
        """Whether the watch of a claim reports all that has happened since it was entered."""
        return bool(getattr(self._election, "watches_since_enter", False))

    def query_on_change(self, keeper: SessionKeeper | None, claim: Claim | None) -> None:
        """Let the watch start the next query of this claim by itself; None: of no claim."""
        if self._early is None:
            if claim is None:
                return
            self._early = EarlyQuery(
                self._read_early,
                self._context.requests.submit,
                self._context.scheduler.post,
                on_change=lambda: self._requester.handle(messages.StatusChanged()),
                known=self._known_status,
            )
        self._early.prepare(keeper, claim)

    def starts_read(self, claim: Claim) -> bool:
        """Read the status at once if that was prepared; in the thread of the watch."""
        return self._early is not None and self._early.start(claim)

    def status_changed(self) -> None:
        """Take in a report of the watch that has started no read."""
        if self._early is None:
            self._requester.handle(messages.StatusChanged())
        else:
            self._early.changed()

    def unwatch(self) -> None:
        """Watch the claim no more."""
        if self._early is not None:
            self._early.prepare(None, None)
        self._watch.drop()

    def withdraw(self, keeper: SessionKeeper, ticket: int, claim: Claim) -> None:
        """Withdraw the claim; reports `Withdrawn` or `Failed`."""

        def withdraw() -> messages.Input:
            leave, limit = partial(self._election.withdraw, claim), keeper.lease.request_limit()
            if keeper.closing and limit <= 0:
                raise NotApplied(
                    "the claim is left to the end of its session, which is being closed"
                )
            call(limit, leave, self._context.store, "withdraw", self._key)
            return messages.Withdrawn(ticket)

        self._context.releases.submit(lambda: self._make(keeper, ticket, withdraw))

    def _read(self, keeper: SessionKeeper, ticket: int, claim: Claim) -> messages.StatusReceived:
        """Read the status of the claim; in a thread for requests."""
        ask, limit = partial(self._election.status, claim), keeper.lease.request_limit()
        status = call(limit, ask, self._context.store, "status", self._key)
        return messages.StatusReceived(ticket, status)

    def _known_status(self, claim: Claim) -> messages.StatusReceived | None:
        """The status, if the watch has told it; in its thread."""
        known = getattr(self._election, "known_status", None)
        try:
            status = None if known is None else known(claim)
        except Exception:  # noqa: BLE001  # a mistake of a plugin; the status is read
            log_exception(log, "store.unexpected_error")
            status = None
        return None if status is None else messages.StatusReceived(0, status)

    def _read_early(
        self, keeper: SessionKeeper, claim: Claim
    ) -> messages.StatusReceived | messages.Failed | None:
        ticket = 0  # the state machine gives it one later
        return self._outcome_of(keeper, ticket, lambda: self._read(keeper, ticket, claim))

    def _make(
        self, keeper: SessionKeeper, ticket: int, request: Callable[[], messages.Input]
    ) -> None:
        """Make a request and post its outcome; in the thread of the request."""
        message = self._outcome_of(keeper, ticket, request)
        if message is not None:
            self._context.scheduler.post(partial(self._requester.handle, message))

    def _outcome_of(
        self, keeper: SessionKeeper, ticket: int, request: Callable[[], InputT]
    ) -> InputT | messages.Failed | None:
        try:
            return request()
        except SessionLost:
            # The keeper reports it, to all who share the session, as `LeaseEnded`.
            self._context.scheduler.post(keeper.on_lost)
            return None
        except (StoreUnavailable, StoreClosed, ForkedStore, ConfigurationError) as error:
            return messages.Failed(ticket, error)
