"""The state machine of one candidate: inputs go in, commands come out.

It has no clock, no thread and no I/O; the engine performs the commands, and reports. `messages.Phase`
shows the phases and the ways between them. `CandidateStateMachine.step` is the only method that changes
the state. It changes nothing that it shares: it only reads the lease, and tokens travel in commands.
"""

from __future__ import annotations

from math import inf

from .. import events
from ..backend.protocols import Absent, Claim, ClaimOutcomeUnknown, ClaimStatus, Leading, Waiting
from ..errors import StoreUnavailable
from ..events import Lost, LostReason, Resigned
from . import messages
from .holdings import Turn
from .machine_state import MachineState
from .messages import Phase

__all__ = ["CandidateStateMachine"]

_WITHOUT_TURN = (
    *(Phase.IDLE, Phase.CHECKING_READINESS, Phase.OPENING_SESSION, Phase.BACKING_OFF),
    Phase.STOPPED,
)


class CandidateStateMachine(MachineState):
    """Decides what one candidate does next; the arguments are those of `MachineState`."""

    # For pyright, which takes an assignment to an inherited attribute for another declaration.
    phase: Phase
    working: bool
    held_back: bool
    answered: bool
    enter_answered: bool

    def step(  # noqa: PLR0915 - one case for each input
        self, now: float, message: messages.Input
    ) -> list[messages.Command]:
        """Take in a message at the time `now`; returns what is to be done, in order."""
        self._now = now
        self._out = []
        self._check_deadlines()
        match message:
            case messages.Start():
                if self.phase is Phase.IDLE:
                    self.answered = self.enter_answered = False
                    self._stop_requested = None
                    self._campaign()
                elif self._stop_requested is not None and not self._stop_requested.for_good:
                    self._stop_requested = None  # started again before it had left
            case messages.Stop():
                self._stop(message)
            case messages.Abandon():
                if self.phase is Phase.LEADING:
                    self._end_term(Resigned())
                if self.phase is not Phase.STOPPED:
                    self._leave(messages.Stop())
            case messages.Resign(token, cooldown):
                if self.phase is Phase.LEADING and token == self.token:
                    self._end_term(Resigned(), cooldown)
            case messages.SessionRejected(error):
                self._fail(error)
            case messages.SessionReady(lease):
                self._announcements.store_up("session")
                if self.phase is Phase.OPENING_SESSION:
                    self._held.lease = lease
                    if self._ready:
                        self._stand()
                    else:
                        self._campaign()
            case messages.RenewalFailed(error):
                self._renewal_failed(error)
            case messages.Renewed():
                self._announcements.store_up("session")
                if self.phase is Phase.LEADING and self._is_lease_valid():
                    self._announcements.resumed()
            case messages.LeaseEnded(lease, reason):
                # In OPENING_SESSION the session is one that was never acknowledged.
                if lease is self._held.lease or self.phase is Phase.OPENING_SESSION:
                    self._lease_ended(reason)
            case messages.TurnGranted(lease):
                if self.phase is Phase.QUEUED:
                    if lease is not None:
                        self._held.lease = lease
                        self._announcements.store_up("session")
                    self._enter()
            case messages.AnotherAhead():
                if self.phase is Phase.QUEUED:
                    self.answered = True
                    self._backoff.tries.reset()
                    self._announcements.store_up("claim")
            case messages.SessionUnusable(ticket):
                if ticket == self._held.ticket and self.phase is Phase.ENTERING:
                    self._out += self._held.release_session()
                    self._stand()
            case messages.Entered(ticket, claim):
                self._entered(ticket, claim)
            case messages.StatusReceived(ticket, status):
                if ticket == self._held.ticket and self._held.query.in_flight:
                    self._status_received(status)
            case messages.Withdrawn(ticket):
                if ticket == self._held.ticket and self.phase is Phase.WITHDRAWING:
                    self._announcements.store_up("claim")
                    self._out.append(messages.Released(self._held.claim_token))
                    self._held.claim = self._held.claim_token = None
                    self._proceed()
            case messages.Failed(ticket, error):
                self._failed(ticket, error)
            case messages.StatusChanged():
                if self.phase in (Phase.WAITING, Phase.LEADING):
                    self._query_status()
            case messages.WorkFinished():
                self.working = False
                if self.phase is Phase.DRAINING:
                    self._drain_until = inf
                    if self._held.claim is not None and self._is_lease_valid():
                        self._withdraw()
                    else:
                        self._proceed()
            case messages.ReadinessReported(ready):
                self._readiness_reported(ready)
            case messages.WatchdogExpired(token):
                if self.phase is Phase.LEADING and token == self.token:
                    self._end_term(Lost(LostReason.WATCHDOG))
            case messages.TimerFired():
                pass
        self._check_deadlines()
        self._check_turn()
        return self._out

    def _check_deadlines(self) -> None:
        if self.phase is Phase.LEADING and not self._is_lease_valid():
            # The keeper reports it in a moment; until then no message may find a leader here.
            assert self._held.lease is not None
            self._lease_ended(self._held.lease.ended_reason or LostReason.EXPIRED)
        if self._now >= self._held.query.due:
            self._query_status()
        if self.phase is Phase.BACKING_OFF and self._now >= self._backoff_until:
            self._campaign()
        if self._now >= self._drain_until:
            self._drain_until = inf
            if self.phase is Phase.DRAINING and self._is_lease_valid():
                self._withdraw()  # the work had until the end of the lease that it was done under
            elif (
                self.phase is Phase.DRAINING
                and self._held.lease
                and not self._held.lease.ended_reason
            ):
                self._drain_until = self._now + self._ttl / 20  # see `_won`

    def _check_turn(self) -> None:
        """Give the turn back where no claim exists, may exist, or is about to be made."""
        if self.phase is Phase.DRAINING:
            lease, claim = self._held.lease, self._held.claim
            keeps = claim is not None and lease is not None and lease.ended_reason is None
        else:
            keeps = self.phase not in _WITHOUT_TURN
        if not keeps:
            self._out += self._held.leave_queue()

    # -- campaigning ---------------------------------------------------------------------

    def _campaign(self) -> None:
        """Ask the program whether it is ready, and stand if it is."""
        self._backoff_until = inf
        if self._gated:
            self.phase = Phase.CHECKING_READINESS
            self._out.append(messages.CheckReadiness())
        else:
            self._stand()

    def _readiness_reported(self, ready: bool) -> None:
        self._ready = ready
        self._held.keeps_place &= ready
        match self.phase:
            case Phase.CHECKING_READINESS:
                self.held_back = not ready
                if ready:
                    self._stand()
            case Phase.QUEUED if not ready:
                self.phase = Phase.CHECKING_READINESS
                self.held_back = True
            case Phase.WAITING if not ready:
                self._withdraw()
            case Phase.LEADING if not ready:
                self._end_term(Resigned())
            case _:
                pass  # read when the session is open, the claim is made, or the next campaign begins

    def _stand(self) -> None:
        self._announcements.campaigning()
        if self._held.lease is None:
            self.phase = Phase.OPENING_SESSION
            self._out.append(messages.AcquireSession())
        elif self._held.turn is Turn.HELD:
            self._enter()
        else:
            self.phase = Phase.QUEUED
            self._out += self._held.join_queue()

    def _enter(self) -> None:
        self.phase = Phase.ENTERING
        self._out += self._held.enter()

    def _entered(self, ticket: int, claim: Claim) -> None:
        self.enter_answered = True
        if ticket != self._held.ticket or self.phase is not Phase.ENTERING:
            # Its session ended while the answer was on its way.
            self._out.append(messages.ReapClaim(claim, None))
            return
        self._held.claim, self._held.claim_token = claim, None
        self.phase = Phase.WAITING
        if self._stop_requested or not self._ready:
            self._withdraw()
            return
        if claim.granted and claim.token is not None:
            self._won(claim.token)
        self._query_status()

    def _query_status(self) -> None:
        self._out += self._held.query_status(self._now)

    def _status_received(self, status: ClaimStatus) -> None:
        changed_since = self._held.query.finish()
        watched = isinstance(status, Absent) or status.watched
        if watched and not isinstance(status, Absent):
            self._announcements.store_up("claim")
        match self.phase, status:
            case Phase.WAITING, Leading(token):
                self._won(token)
            case Phase.WAITING, Waiting():
                self.answered = self._held.answered = True
                self._backoff.tries.reset()
                self._held.query.note_unchanged(self._now)
            case Phase.WAITING, Absent():
                # The key is free. Enter at once the first time, and ever more slowly if the store
                # goes on granting nothing.
                self._out += self._held.drop_claim()
                wait = self._backoff.tries.next()
                self.answered |= wait > 0
                self._back_off(wait)
            case Phase.LEADING, Leading(token) if token == self.token:
                self._backoff.tries.reset()
                self._held.query.note_unchanged(self._now)
            case Phase.LEADING, Absent(overwritten=False) | Waiting():
                # Another one can only be ahead if this claim was deleted before.
                self._end_term(Lost(LostReason.DELETED))
            case Phase.LEADING, _:
                self._end_term(Lost(LostReason.OVERWRITTEN))
        if self.phase not in (Phase.WAITING, Phase.LEADING):
            return
        if changed_since:
            self._query_status()
        else:
            self._held.query.rely_on(self._now, watched=watched)

    def _won(self, token: int) -> None:
        if not self._is_lease_valid():
            # Too late: `LeaseEnded` follows, or an acknowledgement under way still moves the deadline.
            self._held.query.retry_at(self._now + self._ttl / 20)
            return
        self.answered = True
        self._held.keeps_place = False
        self._announcements.store_up("claim")
        self.phase = Phase.LEADING
        self.token = self._held.claim_token = token
        self._led_since = self._now
        self._backoff.tries.reset()
        self._held.query.note_elected()
        self._out.append(messages.BeginTerm(token))

    # -- the end of a term -----------------------------------------------------------------

    def _end_term(self, event: Lost | Resigned, cooldown: float | None = None) -> None:
        assert self._held.lease is not None
        self.phase = Phase.DRAINING
        self.working = True
        self._drain_until = self._held.lease.deadline
        self.token = None
        self._announcements.end_term()
        self._backoff.end_term(event, self._now - self._led_since, cooldown)
        if self._once and self._stop_requested is None:
            self._stop_requested = messages.Stop()
        self._held.forget_requests()
        self._out.append(messages.EndTerm(event))

    def _withdraw(self) -> None:
        self.phase = Phase.WITHDRAWING
        self._out += self._held.withdraw()

    def _proceed(self) -> None:
        """Leave, or back off before the next campaign, once the last claim is dealt with."""
        if self._held.lease is not None and not self._is_lease_valid():
            self._out += self._held.release_session()
        self._out += self._held.leave_queue()  # also where the next campaign begins at once
        if self._stop_requested:
            self._leave(self._stop_requested)
            return
        if self.working:
            self.phase = Phase.DRAINING  # the program is still busy with the last term
            return
        self._back_off(self._backoff.next_campaign())

    def _back_off(self, seconds: float) -> None:
        self.phase = Phase.BACKING_OFF
        self._backoff_until = self._now + seconds

    # -- leaving ---------------------------------------------------------------------------

    def _stop(self, stop: messages.Stop) -> None:
        if self.phase is Phase.STOPPED or (self._stop_requested and self._stop_requested.for_good):
            return
        self._stop_requested = stop
        if self.phase is Phase.QUEUED or self.phase in _WITHOUT_TURN:
            self._leave(stop)
        elif self.phase is Phase.WAITING:
            self._withdraw()
        elif self.phase is Phase.LEADING:
            self._end_term(Resigned())
        # Else a request, or work, is under way; `_stop_requested` is read at its end.

    def _leave(self, stop: messages.Stop) -> None:
        if self.phase is not Phase.IDLE:
            self._out += self._held.release_session()
        self._backoff_until = self._drain_until = inf
        self._stop_requested = None
        self.held_back = self._held.keeps_place = False
        self.phase = Phase.STOPPED if stop.for_good else Phase.IDLE
        self.answered = False
        if stop.for_good:
            self._out.append(messages.Emit(events.Stopped()))

    def _fail(self, error: Exception) -> None:
        """End with an error that the user has to resolve."""
        if self.phase in (Phase.STOPPED, Phase.IDLE):
            return
        self._out.append(messages.Fail(error))
        self._stop(messages.Stop())
        if self.phase is Phase.ENTERING:  # it was that request that failed
            self._leave(messages.Stop())

    # -- losses and failures ---------------------------------------------------------------

    def _lease_ended(self, reason: LostReason) -> None:
        match self.phase:
            case Phase.LEADING:
                self._end_term(Lost(reason))
            case Phase.DRAINING:
                pass  # until the work has ended
            case phase:
                self._out += self._held.release_session()
                if phase not in (Phase.BACKING_OFF, Phase.CHECKING_READINESS):
                    self._proceed()

    def _failed(self, ticket: int, error: Exception) -> None:
        if ticket != self._held.ticket:
            if isinstance(error, ClaimOutcomeUnknown):
                self._out.append(messages.ReapClaim(error.claim, None))
        elif self.phase is Phase.WITHDRAWING:
            self._out += self._held.release_session()
            self._proceed()
        elif not isinstance(error, StoreUnavailable):
            self._fail(error)
        else:
            self.answered = True
            self._announcements.store_down("claim", error)
            if self.phase is Phase.ENTERING:
                if isinstance(error, ClaimOutcomeUnknown):
                    # That session must not enter this key again; another one may.
                    self._out.append(messages.ReapClaim(error.claim, None))
                    self._out += self._held.release_session()
                if self._stop_requested:
                    self._leave(self._stop_requested)
                else:
                    self._back_off(self._backoff.tries.next())
            elif self.phase in (Phase.WAITING, Phase.LEADING):
                wait = min(self._backoff.tries.next(), inf if self.phase is Phase.WAITING else 1.0)
                self._held.query.retry_at(self._now + wait)

    def _renewal_failed(self, error: StoreUnavailable) -> None:
        self.answered = True
        self._announcements.store_down("session", error)
        if self.phase is Phase.LEADING and self._is_lease_valid():
            assert self._held.lease is not None
            self._announcements.suspended(self._held.lease.deadline - self._now)
