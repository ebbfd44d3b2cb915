"""The driver of one candidate: performs the commands of its state machine, and reports back."""

from __future__ import annotations

import logging
from functools import partial
from math import inf

from ..backend.protocols import Claim
from ..errors import NotApplied
from ..events import LostReason
from . import messages
from .candidate_debug_state import CandidateDebugState
from .candidate_requests import CandidateRequests
from .candidate_state import CandidateState
from .engine import Engine, Participant
from .gates import NO_GATES, Gates
from .holdings import Turn
from .key_queue import QueueUser
from .lease import Lease
from .messages import Phase
from .readiness import ReadinessProbe
from .scheduler import Timer
from .session_keeper import SessionKeeper
from .state_machine import CandidateStateMachine
from .watchdog import Watchdog

__all__ = ["CandidateDriver"]

log: logging.Logger = logging.getLogger("leadership.candidate")

_RECOVERY_DELAY = 0.2  # seconds before a new start where a step has failed


class CandidateDriver:
    """One candidate's state machine and its requests.

    Everything happens in the scheduler's thread, except for `post`, the properties, `debug_state`
    and the requests.

    Args:
        engine: whose store and threads to use.
        key: the election's key, with the prefix.
        value: what followers see.
        ttl: seconds.
        margin: seconds, or None.
        state: the candidate's, which users read.
        participant: is removed from the engine when it has stopped and nothing of it is left to withdraw.
        gates: the conditions under which the program wants to lead.
        once: whether it leaves for good when its first term ends.

    Attributes:
        key: as given.
        unconfirmed_claims: claims left to the end of their session, which is not confirmed.
    """

    __slots__ = (
        *("_cleaner", "_claim_confirmed", "_context", "_election", "_engine", "_has_entered"),
        *("_keeper", "_machine", "_margin", "_now", "_participant", "_place", "_queue", "_queues"),
        *("_readiness", "_reaping", "_requests", "_sessions", "_state", "_stepping", "_timer"),
        *("_timer_at", "_ttl", "_watchdog", "key", "unconfirmed_claims"),
    )

    def __init__(
        self,
        engine: Engine,
        key: str,
        value: bytes,
        ttl: float,
        margin: float | None,
        state: CandidateState,
        participant: Participant,
        *,
        gates: Gates = NO_GATES,
        once: bool = False,
    ) -> None:
        self.key = key
        self.unconfirmed_claims: tuple[Claim, ...] = ()
        self._context = engine.context
        self._now = engine.context.time_source.clock
        self._sessions = engine.sessions
        self._queues = engine.queues
        self._cleaner = engine.cleaner
        self._election = engine.election(key)
        self._ttl, self._margin = ttl, margin
        self._state = state
        self._engine, self._participant = engine, participant
        self._readiness: ReadinessProbe | None = None
        if gates.ready is not None:
            context = engine.scheduler, state.log, state.value
            self._readiness = ReadinessProbe(gates.ready, ttl, *context, report=self.handle)
        self._watchdog: Watchdog | None = None
        if gates.watchdog is not None:
            self._watchdog = Watchdog(gates.watchdog, engine.scheduler, report=self.handle)
        self._machine = CandidateStateMachine(
            ttl, engine.context.rng, once=once, gated=gates.ready is not None
        )
        self._keeper: SessionKeeper | None = None
        self._reaping = 0  # claims that are being withdrawn by the pool
        self._requests = CandidateRequests(engine.context, self._election, key, value, self)
        self._place: int | None = None  # in the queue of the key
        self._claim_confirmed = False  # as the others in that queue know it
        self._timer: Timer | None = None
        self._timer_at = inf
        self._queue: list[messages.Input] = []  # short
        self._stepping = False
        self._has_entered = False  # something of it may be at the store

    @property
    def phase(self) -> Phase:
        """Where the candidate is."""
        return self._machine.phase

    @property
    def answered(self) -> bool:
        """Whether the store has been asked since the start, and has answered or failed to."""
        return self._machine.answered

    @property
    def held_back(self) -> bool:
        """Whether it does not stand for election because the program is not ready."""
        return self._machine.held_back

    @property
    def awaits_session(self) -> bool:
        """Whether its only request so far is that for a session, and is unanswered."""
        return self._keeper is None or not self._keeper.ready

    @property
    def enter_answered(self) -> bool:
        """Whether the store has answered a request to enter since the start."""
        return self._machine.enter_answered

    @property
    def orphaned_claims(self) -> int:
        """How many claims are being withdrawn, or may just be being made."""
        return self._reaping + self._requests.entering

    @property
    def working(self) -> bool:
        """Whether work of an ended term may still be going on."""
        return self._machine.working

    @property
    def withdrawing(self) -> bool:
        """Whether its claim is being withdrawn: its term, and the work for it, are over."""
        return self._machine.phase is Phase.WITHDRAWING

    def debug_state(self) -> CandidateDebugState:
        """A snapshot for tests; from any thread, so its fields may be of two neighbouring instants."""
        claims = self.orphaned_claims, len(self.unconfirmed_claims)
        return CandidateDebugState.of(self._machine, self._keeper, self._ttl, *claims)

    def post(self, message: messages.Input) -> None:
        """Handle the message soon; from any thread.

        Raises:
            NotApplied: it is a `Start`, and no thread can be started now.
        """
        self._context.scheduler.post(
            partial(self.handle, message), or_here=not isinstance(message, messages.Start)
        )

    @property
    def claim_confirmed(self) -> bool:
        """Whether the store has answered that its claim leads, or waits, and still answers."""
        return self._machine.claim_confirmed

    @property
    def awaits_answer(self) -> bool:
        """Whether it has no usable answer of the store yet."""
        return self._machine.awaits_answer

    @property
    def may_be_followed(self) -> bool:
        """Whether it leads, and the election elects the claims in the order in which they were made."""
        leads = self._machine.phase is Phase.LEADING
        return leads and bool(getattr(self._election, "orders_claims", False))

    @property
    def session(self) -> SessionKeeper | None:
        """What its claim is bound to, or its next one; None without that."""
        return self._keeper

    def session_beside(self, other: QueueUser | None) -> SessionKeeper | None:
        """The session for a claim beside that of the other; None if there is none now."""
        used = None if other is None else other.session
        return self._sessions.beside(used, self._keeper, self.key, self._ttl, self._margin)

    def handle(self, message: messages.Input) -> None:
        """Step the state machine and perform its commands, which may lead to further messages."""
        machine = self._machine
        try:
            self._queue.append(message)
            if self._stepping:
                return  # the loop below is running, and takes it next
            self._stepping = True
            try:
                while self._queue:
                    before = machine.phase, machine.answered, machine.held_back
                    message = self._queue.pop(0)
                    if isinstance(message, messages.TurnGranted):
                        if not self._queues.has_turn(self):
                            continue  # it has left the queue meanwhile
                        message = self._choose_session()
                    if isinstance(message, messages.Start) and machine.phase is Phase.IDLE:
                        self._requests.started()
                    for command in machine.step(self._now(), message):
                        self._perform(command)
                    if (machine.phase, machine.answered, machine.held_back) != before:
                        self._changed()
                        if machine.phase is Phase.LEADING:
                            self._queues.offer_second(self.key)
                    was_confirmed = self._claim_confirmed
                    self._claim_confirmed = machine.claim_confirmed
                    if self._claim_confirmed and not was_confirmed:
                        self._queues.notify_waiting(self)
            finally:
                self._stepping = False
            self._requests.query_on_change(self._keeper, machine.watched_claim)
            self._arm_timer()
        except BaseException:
            self._recover()
            raise

    def _arm_timer(self) -> None:
        def fired() -> None:
            self._timer, self._timer_at = None, inf
            self.handle(messages.TimerFired())

        due = self._machine.due
        if due != self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            call_at = self._context.scheduler.call_at
            self._timer = None if due == inf else call_at(due, fired)

    def _recover(self) -> None:
        """Drop the session after an exception inside a step: no memory, or a bug.

        A command that was not performed may leave a claim that blocks the key; it ends with its session.
        """
        keeper = self._keeper
        lease = keeper.lease if keeper is not None else Lease(self._ttl)
        lease.end(LostReason.EXPIRED)

        def drop_session() -> None:
            if keeper is not None:
                keeper.expire(LostReason.EXPIRED)
            # It may not be one of the session's users yet; a second report changes nothing.
            self.handle(messages.LeaseEnded(lease, lease.ended_reason or LostReason.EXPIRED))
            if self._machine.turn is not Turn.HELD:
                self._leave_queue()  # a command to do so may have been lost
            if self._machine.turn is Turn.AWAITED:
                self._join_queue()
            if self.phase is Phase.DRAINING and not self._state.working:
                self.handle(messages.WorkFinished())
            if self.phase is Phase.CHECKING_READINESS and self._readiness is not None:
                self._readiness.check()

        self._context.scheduler.call_later(_RECOVERY_DELAY, drop_session)

    # -- commands ----------------------------------------------------------------------------

    def _perform(self, command: messages.Command) -> None:
        match command:
            case messages.CheckReadiness():
                assert self._readiness is not None
                self._readiness.check()
            case messages.AcquireSession():
                self._acquire_session()
            case messages.ReleaseSession():
                keeper, self._keeper = self._keeper, None
                if keeper is not None:
                    self._sessions.release(self, keeper)
                    if self._requests.is_entering(keeper):  # its end settles that, too
                        keeper.when_closed(self._changed)
            case messages.JoinQueue(returning):
                if not returning:
                    self._place = None
                self._join_queue()
            case messages.LeaveQueue():
                self._leave_queue()
            case messages.Enter(ticket):
                self._enter(ticket)
            case messages.QueryStatus(ticket, claim):
                assert self._keeper is not None
                self._requests.query_status(self._keeper, ticket, claim)
            case messages.Unwatch():
                self._requests.unwatch()
            case messages.BeginTerm(token):
                assert self._keeper is not None
                self._state.begin_term(token, self._keeper.lease, self._keeper.renew_now)
                if self._watchdog is not None and self._state.last is not None:
                    self._watchdog.begin(self._state.last.state)
            case messages.EndTerm(event):
                if self._watchdog is not None:
                    self._watchdog.end()
                if not self._state.end_term(event):
                    self._queue.append(messages.WorkFinished())
            case messages.Withdraw(ticket, claim):
                assert self._keeper is not None
                self._requests.withdraw(self._keeper, ticket, claim)
            case messages.ReapClaim(claim, token):
                self._reap(claim, token)
            case messages.Released(token):
                self._state.released(token, confirmed=True)
            case messages.Emit(event):
                self._state.publish(event)
            case messages.Fail(error):
                self._state.fail(error)

    def _acquire_session(self) -> None:
        try:
            self._context.releases.ensure_started()
            wanted, waits = (self.key, self._ttl, self._margin), self._queues.is_taken(self)
            self._keeper = self._sessions.acquire(self, *wanted, waits=waits)
        except RuntimeError as error:  # no more threads, for now
            log.warning("no thread for a session of %s: %s", self.key, error)
            failure = NotApplied(f"no thread can be started now: {error}")
            self.handle(messages.RenewalFailed(failure))
            self.handle(messages.LeaseEnded(Lease(self._ttl), LostReason.EXPIRED))

    def _choose_session(self) -> messages.TurnGranted:
        """Move to another session if the leader's claim is bound to this candidate's."""
        mine, usable = self._keeper, self.session_beside(self._queues.beside(self))
        if mine and usable and usable is not mine and self.phase is Phase.QUEUED:
            self._keeper = self._sessions.move(self, mine, usable)
            return messages.TurnGranted(usable.lease)
        return messages.TurnGranted()

    def _enter(self, ticket: int) -> None:
        keeper, other = self._keeper, self._queues.beside(self)
        assert keeper is not None
        if keeper.can_enter(self.key) and (other is None or other.session is not keeper):
            self._requests.enter(keeper, ticket)
            self._has_entered = True
        else:
            self.handle(messages.SessionUnusable(ticket))

    def _join_queue(self) -> None:
        self._place = self._queues.join(self, self._place)
        keeper = self._keeper
        if keeper is not None and keeper.failure and not self._queues.has_turn(self):
            # It makes no request of its own that would fail.
            self.handle(messages.RenewalFailed(keeper.failure))

    def _leave_queue(self) -> None:
        if self._place is not None:
            self._queues.leave(self, self._place)

    def _reap(self, claim: Claim, token: int | None) -> None:
        keeper = self._sessions.find(claim.session)
        if keeper is None:  # its session is closed, and so is the claim
            mine = self._keeper
            if mine is not None and mine.session is claim.session and mine.confirmed_closed:
                self._state.released(token, confirmed=True)
            return

        def gone(confirmed: bool) -> None:
            if claim in self.unconfirmed_claims:
                self.unconfirmed_claims = tuple(
                    one for one in self.unconfirmed_claims if one is not claim
                )
            else:
                self._reaping -= 1
                if not confirmed:
                    self.unconfirmed_claims += (claim,)
            self._state.released(token, confirmed)
            self._changed()

        self._reaping += 1
        self._sessions.reap(keeper, self._election, claim, gone)

    def enter_ended(self) -> None:
        """Note that a request to enter makes no claim any more; in the scheduler's thread."""
        self._changed()

    def _changed(self) -> None:
        phase = self._machine.phase
        if phase in (Phase.STOPPED, Phase.IDLE):
            if self._readiness is not None:
                self._readiness.pause()
            if not self.orphaned_claims:
                if self._has_entered:
                    self._has_entered = False
                    self._cleaner.left(self.key, self._election)
                if phase is Phase.STOPPED:
                    self._engine.remove(self._participant)
        if phase is not Phase.STOPPED:
            self._state.note_idle(phase is Phase.IDLE)
        self._state.changed()
