"""Does what a campaign says, and reports to it what came of that."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .. import clock
from ..errors import ClaimUnknown, ConfigurationError, NotDone, SessionLost, StoreError
from ..lease import Lease, LostReason
from ..machine import Campaign, Phase, actions as do, happenings as on
from ..store import Claim
from .calls import OUTCOMES, call
from .complaints import complain
from .front import Front
from .leased_session import LeasedSession
from .turn_watch import TurnWatch

if TYPE_CHECKING:
    from .engine import Engine
    from .scheduler import Timer

__all__ = ["CandidateRunner"]

log = logging.getLogger("leadership.candidate")

_BREATH = 0.2  # seconds before it begins anew where everything has failed


class CandidateRunner:
    """One candidate's state machine and its requests.

    Everything happens in the scheduler's thread but what `post` takes and what the jobs do.

    Args:
        engine: whose store and threads to use.
        key: the election's key, with the prefix.
        value: what followers see.
        ttl: seconds.
        margin: seconds, or None.
        front: what the user holds.
        on_gone: called when it has stopped and looks after nothing any more.
        once: whether it leaves for good when its first term ends.
    """

    def __init__(
        self,
        engine: Engine,
        key: str,
        value: bytes,
        ttl: float,
        margin: float | None,
        front: Front,
        on_gone: Callable[[], None],
        *,
        once: bool = False,
    ) -> None:
        self.key = key
        self._loose = 0  # claims that may still stand though nobody wants them
        self.left: set[Claim] = set()  # those whose session is given up, its end unconfirmed
        self._engine = engine
        self._value = value
        self._ttl, self._margin = ttl, margin
        self._front = front
        self._on_gone = on_gone
        self._election = engine.election(key)
        self._campaign = Campaign(ttl, engine.rng, once=once)
        self._leased: LeasedSession | None = None
        self._enters: dict[int, LeasedSession] = {}  # by ticket: requests without an answer
        self._watch = TurnWatch(engine, self._election, lambda: self.happened(on.Turned()))
        self._timer: Timer | None = None
        self._timer_at = float("inf")
        self._queue: deque[on.Happening] = deque()
        self._stepping = False
        self._entered = False  # something of it may be at the store
        self._fresh = False  # started by the user, and has not entered since

    @property
    def phase(self) -> Phase:
        """Where the candidate is."""
        return self._campaign.phase

    @property
    def answered(self) -> bool:
        """Whether the store has been asked since the start, and has answered or failed to."""
        return self._campaign.answered

    @property
    def waits_for_a_session(self) -> bool:
        """Whether it has sent nothing yet that an answer could come to but for its session."""
        leased = self._leased
        return leased is None or not leased.ready

    @property
    def heard(self) -> bool:
        """Whether the store has answered a request to enter since the start."""
        return self._campaign.heard

    @property
    def loose(self) -> int:
        """Claims that may still stand though nobody wants them, or that are just being made."""
        entering = [one for one in list(self._enters.values()) if not one.ended_at_store]
        return self._loose + len(entering)

    @property
    def working(self) -> bool:
        """Whether work of an ended term may still be going on."""
        return self._campaign.working

    def post(self, happening: on.Happening) -> None:
        """Let it happen soon; from any thread.

        Raises:
            NotDone: it is a `Start`, and no thread can be started now.
        """
        self._engine.scheduler.post(
            partial(self.happened, happening), or_here=not isinstance(happening, on.Start)
        )

    def _post_failed(
        self, leased: LeasedSession, ticket: int, error: StoreError | ConfigurationError
    ) -> None:
        if isinstance(error, SessionLost):
            # All who share it learn it now; its next renewal would have told them.
            self._engine.scheduler.post(leased.lost)
        self.post(on.Failed(ticket, error))

    def happened(self, happening: on.Happening) -> None:
        """Step the campaign and do what it says; actions may make further things happen."""
        try:
            self._queue.append(happening)
            if not self._stepping:
                self._step()
        except BaseException:
            self._begin_anew()
            raise

    def _step(self) -> None:
        self._stepping = True
        try:
            while self._queue:
                before = self._campaign.phase, self._campaign.answered
                happening = self._queue.popleft()
                if isinstance(happening, on.Start) and self.phase is Phase.IDLE:
                    self._fresh = True
                for action in self._campaign.step(clock.now(), happening):
                    self._do(action)
                if (self._campaign.phase, self._campaign.answered) != before:
                    self._changed()
        finally:
            self._stepping = False
        self._arm()

    def _begin_anew(self) -> None:
        """A step has failed halfway, for want of memory or by a mistake of ours.

        What it has left undone might hold the key for ever, for nobody. A new session mends that.
        """
        leased = self._leased
        lease = leased.lease if leased is not None else Lease(self._ttl)
        lease.end(LostReason.EXPIRED)

        def give_up() -> None:
            if leased is not None:
                leased.give_up(LostReason.EXPIRED)
            self.happened(on.LeaseOver(lease))  # it may not be one of the session's users yet
            if self.phase is Phase.DRAINING and not self._front.working:
                self.happened(on.Drained())

        self._engine.scheduler.call_at(clock.now() + _BREATH, give_up)

    def _arm(self) -> None:
        due = self._campaign.due
        if due == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = (
            None if due == float("inf") else self._engine.scheduler.call_at(due, self._tick)
        )

    def _tick(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        self.happened(on.Tick())

    # -- actions -----------------------------------------------------------------------------

    def _do(self, action: do.Action) -> None:
        match action:
            case do.Join():
                self._join()
            case do.Part():
                self._part()
            case do.Enter(ticket):
                self._enter(ticket)
            case do.Ask(ticket, claim):
                self._ask(ticket, claim)
            case do.Unwatch():
                self._watch.drop()
            case do.Believe(token):
                assert self._leased is not None
                self._front.begin_term(token, self._leased.lease, self._leased.renew_now)
            case do.Disbelieve(event):
                if not self._front.end_term(event):
                    self._queue.append(on.Drained())
            case do.Withdraw(ticket, claim):
                self._withdraw(ticket, claim)
            case do.Discard(claim):
                self._discard(claim)
            case do.Released(claim):
                self._front.released(claim.token, confirmed=True)
            case do.Tell(event):
                self._front.tell(event)
            case do.Raise(error):
                self._front.fail(error)

    def _join(self) -> None:
        try:
            self._engine.releases.ensure_started()
            self._leased = self._engine.sessions.join(self, self._ttl, self._margin)
        except RuntimeError as error:  # no more threads, for now
            log.warning("no thread for a session of %s: %s", self.key, error)
            self.happened(on.RenewalFailed(NotDone(f"no thread can be started now: {error}")))
            self.happened(on.LeaseOver(Lease(self._ttl)))

    def _part(self) -> None:
        leased, self._leased = self._leased, None
        if leased is not None:
            self._engine.sessions.part(self, leased)
            if leased in self._enters.values():  # its end settles that, too
                leased.when_closed(self._changed)

    def _enter(self, ticket: int) -> None:
        leased = self._leased
        assert leased is not None
        assert leased.session is not None
        session = leased.session
        fresh, self._fresh = self._fresh, False

        def enter() -> Claim:
            try:
                if fresh and (started := getattr(self._election, "candidate_started", None)):
                    started()
                return self._election.enter(session, self._value)
            except OUTCOMES:
                raise
            except BaseException as error:
                # A mistake of a plugin: who knows how far it came.
                claim = Claim(self.key, session, self._value, settled=False)
                complain(log, "store.unexpected_error")
                raise ClaimUnknown(f"{type(error).__name__}: {error}", claim) from error

        def job() -> None:
            try:
                claim = call(leased.lease.request_limit(), enter)
            except (StoreError, ConfigurationError) as error:
                self._post_failed(leased, ticket, error)
            else:
                self.post(on.Entered(ticket, claim))
            self._engine.scheduler.post(lambda: self._answered(ticket))

        self._engine.requests.submit(job)
        self._enters[ticket] = leased
        self._entered = True

    def _answered(self, ticket: int) -> None:
        del self._enters[ticket]  # if it has made a claim, that is dealt with as one by now
        self._changed()

    def _ask(self, ticket: int, claim: Claim) -> None:
        leased = self._leased
        assert leased is not None
        arm = self._watch.turn_to(claim)

        def job() -> None:
            limit = leased.lease.request_limit()
            try:
                if arm:  # before the question, so that no change falls between the two
                    self._watch.arm(claim, limit)
                standing = call(limit, lambda: self._election.standing(claim))
            except (StoreError, ConfigurationError) as error:
                self._post_failed(leased, ticket, error)
            else:
                self.post(on.Stood(ticket, standing))

        self._engine.requests.submit(job)

    def _withdraw(self, ticket: int, claim: Claim) -> None:
        leased = self._leased
        assert leased is not None

        def job() -> None:
            try:
                call(leased.lease.request_limit(), lambda: self._election.withdraw(claim))
            except (StoreError, ConfigurationError) as error:
                self._post_failed(leased, ticket, error)
            else:
                self.post(on.Withdrawn(ticket))

        self._engine.releases.submit(job)

    def _discard(self, claim: Claim) -> None:
        leased = self._engine.sessions.find(claim.session)
        if leased is None:
            return  # its session is closed, and so is the claim
        self._loose += 1
        self._engine.sessions.discard(
            leased, self._election, claim, lambda confirmed: self._gone(claim, confirmed)
        )

    def _gone(self, claim: Claim, confirmed: bool) -> None:
        if claim in self.left:
            self.left.discard(claim)
        else:
            self._loose -= 1
            if not confirmed:
                self.left.add(claim)
        self._front.released(claim.token, confirmed)
        self._changed()

    def _changed(self) -> None:
        if self.phase in {Phase.STOPPED, Phase.IDLE} and self._entered and not self.loose:
            self._entered = False
            self._engine.leftovers.left(self.key, self._election)
        if self.phase is Phase.STOPPED and not self.loose:
            self._on_gone()
        self._front.changed()
