"""The state machine of one candidate: what happened goes in, what is to be done comes out.

There is no clock, no thread and no I/O in here; the engine does what it is told, and reports.
A simulation may drive it with a clock and a store of its own.

    IDLE ── JOINING ── ENTERING ── WAITING ── LEADING
               │           │          │          │
               └──────── RESTING ─────┘       DRAINING ── WITHDRAWING ── RESTING, IDLE, STOPPED

`Campaign.step` is the only thing that changes the state.
"""

from __future__ import annotations

import random
from math import inf

from ..errors import ClaimUnknown, SessionLost, StoreUnavailable
from ..events import (
    Campaigning,
    Lost,
    LostReason,
    Resigned,
    Resumed,
    Stopped,
    StoreDown,
    StoreUp,
    Suspended,
)
from ..lease import Lease
from ..store import Absent, Claim, Leading, Standing, Waiting
from ..timing import Backoff, Pace, retry_cap
from . import actions as do, happenings as on
from .contact import Contact
from .phase import Phase
from .question import Question

__all__ = ["Campaign"]


class Campaign:
    """What one candidate does next.

    Args:
        ttl: of its sessions, in seconds; bounds the waits between tries.
        rng: for their jitter.
        once: leave for good when the first term ends, for whatever reason.
    """

    def __init__(self, ttl: float, rng: random.Random, *, once: bool = False) -> None:
        self.phase = Phase.IDLE
        self.token: int | None = None  # of the term, while leading
        self.working = False  # the work of an ended term may still be going on
        self.answered = False  # since it started: elected, behind another one, or no answer
        self.heard = False  # since it started: the store has answered a request to enter
        self._ttl = ttl
        self._once = once
        self._lease: Lease | None = None
        self._claim: Claim | None = None
        self._ticket = 0  # of the request whose answer counts; earlier ones are stale
        self._question = Question()
        self._rest_until = inf
        self._drain_until = inf
        self._cooldown: float | None = None
        self._leaving: on.Stop | None = None
        self._announced = False  # `Campaigning`; only the end of a term makes it news again
        self._suspended = False
        self._contact = Contact()
        self._failures = Backoff(retry_cap(ttl), rng, eager=True)
        self._losses = Backoff(retry_cap(ttl), rng)
        self._unwatched = Backoff(retry_cap(ttl), rng)  # answers whose end might not be heard of
        self._idle_asks = Pace()  # questions whose answer was that nothing had changed
        self._led_since = -inf
        self._now = -inf
        self._out: list[do.Action] = []

    @property
    def due(self) -> float:
        """When `Tick` is wanted at the latest; the lease's end is reported by its owner."""
        return min(self._rest_until, self._question.due, self._drain_until)

    def step(self, now: float, happening: on.Happening) -> list[do.Action]:
        """Take in what happened at the time `now`, and say what is to be done, in order."""
        self._now = now
        self._out = []
        self._look_at_the_clock()
        self._take(happening)
        self._look_at_the_clock()
        return self._out

    def _take(self, happening: on.Happening) -> None:
        match happening:
            case on.Start():
                self._start()
            case on.Stop():
                self._stop(happening)
            case on.Abandon():
                self._abandon()
            case on.Resign(token, cooldown):
                if self.phase is Phase.LEADING and token == self.token:
                    self._end_term(Resigned(), cooldown)
            case on.Refused(error):
                self._give_up(error)
            case on.Joined(lease):
                self._joined(lease)
            case on.RenewalFailed(error):
                self._renewal_failed(error)
            case on.Renewed():
                self._renewed()
            case on.LeaseOver(lease):
                # While joining, the session is one whose first renewal has come to nothing.
                if lease is self._lease or self.phase is Phase.JOINING:
                    self._lease_over(lease.over or LostReason.EXPIRED)
            case on.Entered(ticket, claim):
                self._entered(ticket, claim)
            case on.Stood(ticket, standing):
                self._stood(ticket, standing)
            case on.Withdrawn(ticket):
                if ticket == self._ticket and self.phase is Phase.WITHDRAWING:
                    self._store_up("claim")
                    assert self._claim is not None
                    self._out.append(do.Released(self._claim))
                    self._claim = None
                    self._go_on()
            case on.Failed(ticket, error):
                self._failed(ticket, error)
            case on.Turned():
                if self.phase in {Phase.WAITING, Phase.LEADING}:
                    self._ask()
            case on.Drained():
                self._drained()
            case on.Tick():
                pass

    def _look_at_the_clock(self) -> None:
        if self.phase is Phase.LEADING and not self._lease_stands():
            assert self._lease is not None
            self._end_term(Lost(self._lease.over or LostReason.EXPIRED))
        if self._now >= self._question.due:
            self._ask()
        if self.phase is Phase.RESTING and self._now >= self._rest_until:
            self._campaign()
        if self._now >= self._drain_until:
            self._drain_until = inf
            if self.phase is Phase.DRAINING and self._lease_stands():
                self._withdraw()  # the work had until the end of the lease that it was done under

    def _lease_stands(self) -> bool:
        lease = self._lease
        return lease is not None and lease.over is None and self._now < lease.deadline

    # -- standing ------------------------------------------------------------------------

    def _start(self) -> None:
        if self.phase is Phase.STOPPED:
            return
        if self.phase is Phase.IDLE:
            self.answered = self.heard = False
            self._leaving = None
            self._campaign()
        elif self._leaving is not None and not self._leaving.for_good:
            self._leaving = None  # back before it had left

    def _campaign(self) -> None:
        self._rest_until = inf
        if not self._announced:
            self._announced = True
            self._tell(Campaigning())
        if self._lease is None:
            self.phase = Phase.JOINING
            self._out.append(do.Join())
        else:
            self.phase = Phase.ENTERING
            self._ticket += 1
            self._out.append(do.Enter(self._ticket))

    def _joined(self, lease: Lease) -> None:
        self._store_up("session")
        if self.phase is Phase.JOINING:
            self._lease = lease
            self._campaign()

    def _entered(self, ticket: int, claim: Claim) -> None:
        self.heard = True
        if ticket != self._ticket or self.phase is not Phase.ENTERING:
            self._out.append(do.Discard(claim))  # its session ended while it was on its way
            return
        self._store_up("claim")
        self._claim = claim
        self.phase = Phase.WAITING
        if self._leaving:
            self._withdraw()
            return
        if claim.granted and claim.token is not None:
            self._won(claim.token)
        self._ask()

    def _ask(self) -> None:
        assert self._claim is not None
        wait = self._idle_asks.wait(self._now)
        if wait and not self._question.open:
            self._question.due = min(self._question.due, self._now + wait)
        elif self._question.ask():
            self._ticket += 1
            self._out.append(do.Ask(self._ticket, self._claim))

    def _stood(self, ticket: int, standing: Standing) -> None:
        if ticket != self._ticket or not self._question.open:
            return
        again = self._question.answered()
        self._store_up("claim")
        if self.phase is Phase.WAITING:
            self._stood_waiting(standing)
        elif self.phase is Phase.LEADING:
            self._stood_leading(standing)
        if self.phase not in {Phase.WAITING, Phase.LEADING}:
            return
        if again:
            self._ask()
        elif isinstance(standing, Absent) or standing.watched:
            self._unwatched.reset()
        else:
            self._question.failed(self._now + self._unwatched.next())

    def _stood_waiting(self, standing: Standing) -> None:
        match standing:
            case Leading(token):
                self._won(token)
            case Waiting():
                self.answered = True
                self._failures.reset()
                self._idle_asks.spend(self._now)
            case Absent():
                # The way is free: at once the first time, and ever slower if the store goes
                # on granting nothing.
                self._drop_claim()
                wait = self._failures.next()
                self.answered |= wait > 0
                self._rest(wait)

    def _won(self, token: int) -> None:
        if not self._lease_stands():
            return  # the answer took too long, and the end of the lease is on its way
        assert self._claim is not None
        self._claim.token = token
        self.answered = True
        self.phase = Phase.LEADING
        self.token = token
        self._led_since = self._now
        self._failures.reset()
        self._idle_asks.reset()
        self._out.append(do.Believe(token))

    def _stood_leading(self, standing: Standing) -> None:
        match standing:
            case Leading(token) if token == self.token:
                self._failures.reset()
                self._idle_asks.spend(self._now)
            case Absent(overwritten=False) | Waiting():
                # Another one can only have come in after somebody had taken this one out.
                self._end_term(Lost(LostReason.DELETED))
            case _:
                self._end_term(Lost(LostReason.OVERWRITTEN))

    # -- the end of a term -----------------------------------------------------------------

    def _end_term(self, event: Lost | Resigned, cooldown: float | None = None) -> None:
        assert self._lease is not None
        self.phase = Phase.DRAINING
        self.working = True
        self._drain_until = self._lease.deadline
        self.token = None
        self._suspended = False
        self._announced = False
        self._cooldown = cooldown
        if self._once and self._leaving is None:
            self._leaving = on.Stop()
        if self._now - self._led_since > self._ttl:
            self._losses.reset()
        self._forget_requests()
        self._out.append(do.Disbelieve(event))

    def _drained(self) -> None:
        self.working = False
        if self.phase is not Phase.DRAINING:
            return
        self._drain_until = inf
        if self._claim is not None and self._lease_stands():
            self._withdraw()
        else:
            self._go_on()

    def _withdraw(self) -> None:
        assert self._claim is not None
        self._forget_requests()
        self.phase = Phase.WITHDRAWING
        self._ticket += 1
        # In this order: others wait for the withdrawal.
        self._out += [do.Withdraw(self._ticket, self._claim), do.Unwatch()]

    def _go_on(self) -> None:
        """The last claim is dealt with: rest and stand again, or leave."""
        if self._lease is not None and not self._lease_stands():
            self._leave_session()
        if self._leaving:
            self._leave(self._leaving)
            return
        if self.working:
            self.phase = Phase.DRAINING  # nobody could act on a new term yet
            return
        if self._cooldown is not None:
            self._losses.reset()
            self._rest(self._cooldown)
        else:
            self._rest(self._losses.next())
        self._cooldown = None

    def _rest(self, seconds: float) -> None:
        self.phase = Phase.RESTING
        self._rest_until = self._now + seconds

    # -- leaving ---------------------------------------------------------------------------

    def _stop(self, stop: on.Stop) -> None:
        if self.phase is Phase.STOPPED or (self._leaving and self._leaving.for_good):
            return
        self._leaving = stop
        match self.phase:
            case Phase.IDLE | Phase.JOINING | Phase.RESTING:
                self._leave(stop)
            case Phase.WAITING:
                self._withdraw()
            case Phase.LEADING:
                self._end_term(Resigned())
            case _:
                pass  # a request or work is under way; `_leaving` is looked at when it ends

    def _leave(self, stop: on.Stop) -> None:
        if self.phase is not Phase.IDLE:
            self._leave_session()
        self._rest_until = self._drain_until = inf
        self._leaving = None
        self.phase = Phase.STOPPED if stop.for_good else Phase.IDLE
        self.answered = False
        if stop.for_good:
            self._tell(Stopped())

    def _abandon(self) -> None:
        if self.phase is Phase.LEADING:
            self._end_term(Resigned())
        if self.phase is not Phase.STOPPED:
            self._leave(on.Stop())

    def _give_up(self, error: Exception) -> None:
        """What a person must mend: say so, and end."""
        if self.phase in {Phase.STOPPED, Phase.IDLE}:
            return
        self._out.append(do.Raise(error))
        self._stop(on.Stop())
        if self.phase is Phase.ENTERING:  # it was that request that failed
            self._leave(on.Stop())

    def _leave_session(self) -> None:
        if self._claim is not None:  # it may stand until the end of its session
            self._out.append(do.Discard(self._claim))
        self._drop_claim()
        self._lease = None
        self._out.append(do.Part())

    def _drop_claim(self) -> None:
        if self._claim is not None:
            self._out.append(do.Unwatch())
        self._claim = None
        self._forget_requests()

    def _forget_requests(self) -> None:
        self._ticket += 1
        self._question.drop()

    # -- trouble ---------------------------------------------------------------------------

    def _failed(self, ticket: int, error: Exception) -> None:
        if ticket != self._ticket:
            if isinstance(error, ClaimUnknown):
                self._out.append(do.Discard(error.claim))
            return
        if isinstance(error, SessionLost):
            self._lease_over(LostReason.SESSION_LOST)
        elif self.phase is Phase.WITHDRAWING:
            self._leave_session()
            self._go_on()
        elif not isinstance(error, StoreUnavailable):
            self._give_up(error)
        else:
            self._store_down("claim", error)
            self._try_again(error)

    def _try_again(self, error: StoreUnavailable) -> None:
        match self.phase:
            case Phase.ENTERING:
                if isinstance(error, ClaimUnknown):
                    # That session must not enter this key again; another one may.
                    self._out.append(do.Discard(error.claim))
                    self._leave_session()
                if self._leaving:
                    self._leave(self._leaving)
                else:
                    self._rest(self._failures.next())
            case Phase.WAITING | Phase.LEADING:
                wait = self._failures.next()
                if self.phase is Phase.LEADING:
                    wait = min(wait, 1.0)
                self._question.failed(self._now + wait)
            case _:
                pass

    def _lease_over(self, reason: LostReason) -> None:
        match self.phase:
            case Phase.LEADING:
                self._end_term(Lost(reason))
            case Phase.DRAINING:
                pass  # the work comes first
            case Phase.RESTING:
                self._leave_session()
            case _:
                self._leave_session()
                self._go_on()

    def _renewal_failed(self, error: StoreUnavailable) -> None:
        self._store_down("session", error)
        if self.phase is Phase.LEADING and not self._suspended and self._lease_stands():
            assert self._lease is not None
            self._suspended = True
            self._tell(Suspended(self._lease.deadline - self._now))

    def _renewed(self) -> None:
        self._store_up("session")
        if self._suspended and self.phase is Phase.LEADING and self._lease_stands():
            self._suspended = False
            self._tell(Resumed())

    def _store_down(self, way: str, error: StoreUnavailable) -> None:
        self.answered = True
        for event in self._contact.failed(way, error):
            self._tell(event)

    def _store_up(self, way: str) -> None:
        for event in self._contact.answered(way):
            self._tell(event)

    def _tell(
        self, event: Campaigning | Suspended | Resumed | StoreDown | StoreUp | Stopped
    ) -> None:
        if self.phase is not Phase.STOPPED or isinstance(event, Stopped):
            self._out.append(do.Tell(event))
