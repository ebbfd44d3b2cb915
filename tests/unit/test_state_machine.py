"""The state machine of a candidate, step by step: inputs go in, commands come out."""

from __future__ import annotations

import math
import random
from math import inf

import pytest

from leadership_core.backend.protocols import Absent, Claim, ClaimOutcomeUnknown, Leading, Waiting
from leadership_core.engine import messages
from leadership_core.engine.lease import Lease
from leadership_core.engine.messages import Phase
from leadership_core.engine.state_machine import CandidateStateMachine
from leadership_core.errors import ConfigurationError, StoreClosed, StoreUnavailable
from leadership_core.events import (
    Campaigning,
    Event,
    Lost,
    LostReason,
    Resigned,
    Resumed,
    Stopped,
    StoreDown,
    StoreUp,
    Suspended,
)

DOWN = StoreUnavailable("no answer")


class _Session:
    id = "s"
    ttl = 9.0

    def renew(self) -> float:
        return 9.0

    def close(self) -> None:
        pass


class Harness:
    """Drives one state machine; `commands` and `events` are those of the last step.

    While it is `alone` in the queue of its key, its turn comes at once, and `commands` has none of the queue.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.now = 100.0
        self.alone = alone
        self.machine = CandidateStateMachine(9.0, random.Random(1))
        self.commands: list[messages.Command] = []
        self.events: list[Event] = []
        self.lease = self.new_lease()
        self.claim = Claim("key", _Session(), b"me")

    def new_lease(self) -> Lease:
        lease = Lease(9.0, now=lambda: self.now)
        lease.acknowledge(self.now, 9.0)
        return lease

    def __call__(self, message: messages.Input, after: float = 0.0) -> list[type[messages.Command]]:
        self.now += after
        self.commands = self.machine.step(self.now, message)
        if self.alone and any(isinstance(one, messages.JoinQueue) for one in self.commands):
            self.commands += self.machine.step(self.now, messages.TurnGranted())
        if self.alone:
            queue = messages.JoinQueue | messages.LeaveQueue
            self.commands = [one for one in self.commands if not isinstance(one, queue)]
        self.events = [
            one.event for one in self.commands if isinstance(one, (messages.Emit, messages.EndTerm))
        ]
        return [type(one) for one in self.commands]

    @property
    def phase(self) -> Phase:
        return self.machine.phase

    @property
    def ticket(self) -> int:
        """The ticket of the request that the last step sent."""
        return next(
            one.ticket
            for one in self.commands
            if isinstance(one, messages.Enter | messages.QueryStatus | messages.Withdraw)
        )

    def checking_readiness(self) -> Harness:
        self.machine = CandidateStateMachine(9.0, random.Random(1), gated=True)
        assert self(messages.Start()) == [messages.CheckReadiness]
        return self

    def opening_session(self) -> Harness:
        assert self(messages.Start()) == [messages.Emit, messages.AcquireSession]
        return self

    def queued(self) -> Harness:
        self.opening_session()
        self.alone = False
        assert self(messages.SessionReady(self.lease)) == [messages.JoinQueue]
        return self

    def entering(self) -> Harness:
        if self.alone:
            self.opening_session()
            assert self(messages.SessionReady(self.lease)) == [messages.Enter]
        else:
            self.queued()
            assert self(messages.TurnGranted()) == [messages.Enter]
        return self

    def waiting(self) -> Harness:
        self.entering()
        assert self(messages.Entered(self.ticket, self.claim)) == [messages.QueryStatus]
        asked = self.ticket
        assert self(messages.StatusReceived(asked, Waiting())) == []
        return self

    def leading(self, token: int = 7) -> Harness:
        self.waiting()
        assert self(messages.StatusChanged()) == [messages.QueryStatus]
        assert self(messages.StatusReceived(self.ticket, Leading(token))) == [messages.BeginTerm]
        return self

    def draining(self) -> Harness:
        self.leading()
        self(messages.Resign(7, 2.0))
        return self

    def withdrawing(self) -> Harness:
        self.draining()
        assert messages.Withdraw in self(messages.WorkFinished())
        return self

    def backing_off(self) -> Harness:
        self.withdrawing()
        self(messages.Withdrawn(self.ticket))
        return self

    def at(self, phase: Phase) -> Harness:
        if phase is not Phase.IDLE:
            getattr(self, phase.name.lower())()
        assert self.phase is phase
        return self


@pytest.fixture
def harness() -> Harness:
    return Harness()


# -- campaigning -----------------------------------------------------------------------------------


def test_candidate_leads_after_session_claim_and_status(harness: Harness) -> None:
    """The term has the token of the status, and the claim is not changed."""
    harness.leading(token=12)

    assert harness.phase is Phase.LEADING
    assert harness.commands == [messages.BeginTerm(12)]
    assert harness.machine.token == 12
    assert harness.claim.token is None  # the machine changes nothing that it shares
    assert harness.machine.due == inf


def test_granted_claim_begins_a_term_and_is_queried(harness: Harness) -> None:
    """The answer to the enter has the token; changes since are queried at once."""
    harness.entering()
    harness.claim.token, harness.claim.granted = 9, True

    assert harness(messages.Entered(harness.ticket, harness.claim)) == [
        messages.BeginTerm,
        messages.QueryStatus,
    ]
    harness(messages.StatusReceived(harness.ticket, Absent()))
    assert harness.events == [Lost(LostReason.DELETED)]


def test_granted_claim_begins_no_term_after_the_lease_ended(harness: Harness) -> None:
    """The answer came after the deadline."""
    harness.entering()
    harness.claim.token, harness.claim.granted = 9, True

    assert messages.BeginTerm not in harness(
        messages.Entered(harness.ticket, harness.claim), after=8.5
    )


def test_start_emits_campaigning_once(harness: Harness) -> None:
    """Further starts change nothing."""
    harness.opening_session()
    assert harness.events == [Campaigning()]
    for _ in range(3):
        assert harness(messages.Start()) == []


def test_leading_status_begins_no_term_after_the_lease_ended(harness: Harness) -> None:
    """The answer came after the deadline."""
    harness.waiting()
    harness(messages.StatusChanged())
    asked = harness.ticket

    assert messages.BeginTerm not in harness(messages.StatusReceived(asked, Leading(7)), after=9.0)
    assert harness.phase is not Phase.LEADING


def test_claim_is_queried_again_when_the_lease_goes_on_after_an_answer_past_the_deadline(
    harness: Harness,
) -> None:
    """The acknowledgement was being processed: nothing else would report that the claim is first."""
    harness.waiting()
    harness(messages.StatusChanged())
    harness(messages.StatusReceived(harness.ticket, Leading(7)), after=8.2)
    assert harness.phase is Phase.WAITING
    assert harness.lease.ended_reason is None
    harness.lease.deadline = harness.now + 5

    harness.now = harness.machine.due
    assert harness(messages.TimerFired()) == [messages.QueryStatus]
    assert harness(messages.StatusReceived(harness.ticket, Leading(7))) == [messages.BeginTerm]


def test_answer_to_an_earlier_query_is_ignored(harness: Harness) -> None:
    """Its status may be out of date."""
    harness.waiting()
    harness(messages.StatusChanged())
    old = harness.ticket
    assert harness(messages.Failed(old, DOWN)) == [messages.Emit, messages.QueryStatus]
    assert harness.ticket != old

    assert harness(messages.StatusReceived(old, Leading(7))) == []
    assert harness.phase is Phase.WAITING


def test_changes_during_a_query_are_queried_once_after_it(harness: Harness) -> None:
    """One query is in flight at a time, and no change is missed."""
    harness.waiting()
    assert harness(messages.StatusChanged()) == [messages.QueryStatus]
    asked = harness.ticket
    assert harness(messages.StatusChanged()) == []
    assert harness(messages.StatusChanged()) == []

    assert harness(messages.StatusReceived(asked, Waiting())) == [messages.QueryStatus]
    assert harness(messages.StatusReceived(harness.ticket, Waiting())) == []


def test_unwatched_answer_is_queried_again_soon(harness: Harness) -> None:
    """The watch might miss its end; with the watch up to date, there are no further queries."""
    harness.entering()
    harness(messages.Entered(harness.ticket, harness.claim))
    assert harness(messages.StatusReceived(harness.ticket, Waiting(watched=False))) == []
    assert harness.machine.due <= harness.now + 0.1
    assert harness(messages.TimerFired(), after=0.1) == [messages.QueryStatus]
    assert harness(messages.StatusReceived(harness.ticket, Leading(7, watched=False))) == [
        messages.BeginTerm
    ]
    assert harness.machine.due <= harness.now + 0.2
    assert harness(messages.TimerFired(), after=0.2) == [messages.QueryStatus]

    assert harness(messages.StatusReceived(harness.ticket, Leading(7))) == []
    assert harness.machine.due == math.inf


def test_absent_claim_is_entered_at_once_and_then_more_slowly(harness: Harness) -> None:
    """The key is free; but a store that grants nothing is not entered in a hot loop."""
    harness.waiting()
    harness(messages.StatusChanged())
    assert harness(messages.StatusReceived(harness.ticket, Absent())) == [
        messages.Unwatch,
        messages.Enter,
    ]
    enters, start = 0, harness.now
    while harness.now < start + 60.0:
        if any(isinstance(one, messages.QueryStatus) for one in harness.commands):
            harness(messages.StatusReceived(harness.ticket, Absent()))
        elif any(isinstance(one, messages.Enter) for one in harness.commands):
            enters += 1
            harness(messages.Entered(harness.ticket, Claim("key", _Session(), b"me")))
        else:
            harness.lease.deadline = harness.now + 100
            harness(messages.TimerFired(), after=max(0.001, harness.machine.due - harness.now))
    assert 10 < enters < 50


def test_queries_are_rate_limited_whatever_the_watch_reports(harness: Harness) -> None:
    """A plugin may call the watch a thousand times a second."""
    harness.waiting()
    queries, start = 0, harness.now
    while harness.now < start + 10.0:
        harness.lease.deadline = harness.now + 100
        if messages.QueryStatus in harness(messages.StatusChanged(), after=0.001):
            queries += 1
            harness(messages.StatusReceived(harness.ticket, Waiting()))

    assert 100 < queries < 300


def test_session_without_acknowledgement_is_replaced(harness: Harness) -> None:
    """Its first renewal failed, so `SessionReady` never came."""
    harness.opening_session()
    assert messages.ReleaseSession in harness(messages.LeaseEnded(Lease(9.0), LostReason.EXPIRED))
    assert harness.phase is Phase.BACKING_OFF

    assert harness(messages.TimerFired(), after=5.0) == [messages.AcquireSession]


# -- the end of a term --------------------------------------------------------------------------


def test_term_ends_before_the_claim_is_withdrawn(harness: Harness) -> None:
    """Work of the term may still be going on; the claim is kept until it has ended."""
    harness.leading()

    assert harness(messages.Resign(7, 2.0)) == [messages.EndTerm]
    assert harness.events == [Resigned()]
    assert harness(messages.WorkFinished()) == [messages.Withdraw, messages.Unwatch]
    assert harness(messages.Withdrawn(harness.ticket)) == [messages.Released]
    assert harness.phase is Phase.BACKING_OFF


def test_resign_keeps_the_cooldown(harness: Harness) -> None:
    """Other candidates have that time to win."""
    harness.backing_off()
    assert harness.machine.due == harness.now + 2.0
    assert harness(messages.StatusChanged(), after=1.9) == []

    assert harness(messages.TimerFired(), after=0.11) == [messages.Emit, messages.Enter]
    assert harness.events == [Campaigning()]


def test_resign_of_an_earlier_term_is_ignored(harness: Harness) -> None:
    """It came after the end of that term."""
    harness.leading(token=8)

    assert harness(messages.Resign(7, 0.0)) == []
    assert harness.phase is Phase.LEADING


def test_work_delays_the_withdrawal_until_the_deadline_at_most(harness: Harness) -> None:
    """Renewals go on meanwhile; after the deadline the claim is withdrawn, and none is entered."""
    harness.leading()
    deadline = harness.lease.deadline
    harness(messages.Resign(7, 0.0))
    harness.now = deadline - 1
    harness.lease.acknowledge(harness.now, 9.0)
    assert harness(messages.TimerFired()) == []

    assert messages.Withdraw in harness(messages.TimerFired(), after=1.0)
    assert harness(messages.Withdrawn(harness.ticket)) == [messages.Released]
    assert harness.phase is Phase.DRAINING
    assert harness(messages.TimerFired(), after=0.5) == []
    assert harness(messages.WorkFinished()) == [messages.Emit, messages.Enter]


def test_claim_is_withdrawn_soon_when_the_lease_goes_on_after_the_deadline_of_the_work(
    harness: Harness,
) -> None:
    """The acknowledgement was being processed at the deadline."""
    harness.leading()
    harness(messages.Resign(7, 0.0))
    harness.now = harness.machine.due
    assert harness(messages.TimerFired()) == []
    harness.lease.deadline = harness.now + 5

    harness.now = harness.machine.due
    assert messages.Withdraw in harness(messages.TimerFired())


def test_work_of_an_ended_lease_is_awaited_without_a_timer(harness: Harness) -> None:
    """The lease is over for good, so there is nothing to withdraw in time."""
    harness.leading()
    harness(messages.Resign(7, 0.0))
    harness.lease.end(LostReason.SESSION_LOST)
    harness(messages.TimerFired(), after=8.2)

    assert harness.machine.due == inf


def test_work_that_outlives_its_session_is_followed_by_a_new_session(harness: Harness) -> None:
    """The next claim needs a session that is valid."""
    harness.leading()
    harness(messages.Resign(7, 0.0))
    harness.lease.acknowledge(harness.now, 9.0)
    harness(messages.TimerFired(), after=8.5)
    harness.lease.deadline = harness.now + 1
    harness(
        messages.Withdrawn(harness.ticket)
        if harness.phase is Phase.WITHDRAWING
        else messages.TimerFired()
    )
    harness.now += 20
    harness(messages.LeaseEnded(harness.lease, LostReason.EXPIRED))
    harness(messages.WorkFinished())
    commands = harness(messages.TimerFired(), after=5.0)

    assert messages.Enter not in commands
    assert harness.phase is Phase.OPENING_SESSION


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Absent(), LostReason.DELETED),
        (Waiting(), LostReason.DELETED),
        (Absent(overwritten=True), LostReason.OVERWRITTEN),
        (Leading(8), LostReason.OVERWRITTEN),
    ],
)
def test_operators_change_ends_the_term_with_its_reason(
    harness: Harness, status: Absent | Waiting | Leading, reason: LostReason
) -> None:
    """The first status after the change shows it."""
    harness.leading(token=7)
    harness(messages.StatusChanged())
    harness(messages.StatusReceived(harness.ticket, status))

    assert harness.events == [Lost(reason)]
    assert harness.phase is Phase.DRAINING


def test_term_ends_at_the_deadline_before_any_input_is_handled(harness: Harness) -> None:
    """After a pause the first input may be any."""
    for message in (
        messages.TimerFired(),
        messages.StatusChanged(),
        messages.Renewed(),
        messages.Resign(7, 0.0),
        messages.Stop(),
        messages.Start(),
    ):
        each = Harness().leading()
        each(message, after=8.2)
        assert each.events[0] == Lost(LostReason.EXPIRED), message
        assert sum(isinstance(one, Lost | Resigned) for one in each.events) == 1, message


def test_lease_end_releases_the_session_and_reaps_the_claim(harness: Harness) -> None:
    """The claim is never adopted; the store may keep it until the end of the session."""
    harness.leading()
    harness.lease.end(LostReason.SESSION_LOST)
    assert harness(messages.LeaseEnded(harness.lease, LostReason.SESSION_LOST)) == [
        messages.EndTerm
    ]
    assert harness.events == [Lost(LostReason.SESSION_LOST)]

    commands = harness(messages.WorkFinished())
    assert commands[0] is messages.ReapClaim
    assert commands[-1] is messages.ReleaseSession
    assert harness.phase is Phase.BACKING_OFF
    assert harness(messages.TimerFired(), after=5.0) == [messages.Emit, messages.AcquireSession]


def test_repeated_losses_are_followed_by_backoff(harness: Harness) -> None:
    """The store takes every term away at once."""
    harness.leading()
    terms, start = 0, harness.now
    while harness.now < start + 120:
        harness.lease.deadline = harness.now + 9
        if harness.phase is Phase.LEADING:
            terms += 1
            harness(messages.StatusChanged())
            harness(messages.StatusReceived(harness.ticket, Absent()))
            harness(messages.WorkFinished())
            harness(messages.Withdrawn(harness.ticket))
        elif any(isinstance(one, messages.Enter) for one in harness.commands):
            harness(messages.Entered(harness.ticket, Claim("key", _Session(), b"me")))
            harness(messages.StatusReceived(harness.ticket, Leading(7 + terms)))
        else:
            harness(messages.TimerFired(), after=max(0.001, harness.machine.due - harness.now))

    assert 20 < terms < 100


# -- failures ------------------------------------------------------------------------------------


def test_outage_and_its_end_are_reported_once(harness: Harness) -> None:
    """`StoreDown` and `StoreUp` take turns, and so do `Suspended` and `Resumed`."""
    harness.leading()
    harness(messages.RenewalFailed(DOWN), after=1.0)
    assert harness.events == [StoreDown(DOWN), Suspended(harness.lease.deadline - harness.now)]
    harness(messages.RenewalFailed(DOWN), after=1.0)
    assert harness.events == []
    harness(messages.Renewed())
    assert harness.events == [StoreUp(), Resumed()]
    harness(messages.Renewed())
    assert harness.events == []


def test_store_is_up_when_renewals_and_requests_succeed(harness: Harness) -> None:
    """Renewals may succeed while the key cannot be read."""
    harness.leading()
    harness(messages.StatusChanged())
    assert harness(messages.Failed(harness.ticket, DOWN)) == [messages.Emit, messages.QueryStatus]
    assert harness.events == [StoreDown(DOWN)]
    asked = harness.ticket
    harness(messages.Renewed())
    assert harness.events == []
    assert harness.phase is Phase.LEADING

    harness(messages.StatusReceived(asked, Leading(7)))
    assert harness.events == [StoreUp()]


def test_free_key_that_may_be_read_only_leaves_the_store_down(harness: Harness) -> None:
    """Only an answer that a claim can be made ends the outage: wait_elected reports the refusal."""
    harness.entering()
    harness(messages.Failed(harness.ticket, DOWN))
    assert harness.events == [StoreDown(DOWN)]

    harness(messages.Entered(harness.ticket, Claim("key", _Session(), b"me")))
    harness(messages.StatusReceived(harness.ticket, Absent()))
    assert harness.events == []

    harness(messages.TimerFired(), after=harness.machine.due - harness.now)
    harness(messages.Entered(harness.ticket, Claim("key", _Session(), b"me")))
    harness(messages.StatusReceived(harness.ticket, Waiting(watched=False)))
    assert harness.events == []

    harness(messages.StatusChanged())
    harness(messages.StatusReceived(harness.ticket, Waiting()))
    assert harness.events == [StoreUp()]


def test_unknown_outcome_of_an_enter_releases_the_session(harness: Harness) -> None:
    """That session must not enter the key again, and the claim is reaped."""
    harness.entering()
    unknown = Claim("key", _Session(), b"me", settled=False)

    commands = harness(messages.Failed(harness.ticket, ClaimOutcomeUnknown("no answer", unknown)))
    assert messages.ReapClaim(unknown, None) in harness.commands
    assert messages.ReleaseSession in commands
    assert commands[-1] is messages.AcquireSession


def test_enter_that_was_not_applied_is_retried(harness: Harness) -> None:
    """On the same session: at once, and then more slowly."""
    harness.entering()
    assert messages.Enter in harness(messages.Failed(harness.ticket, DOWN))
    assert (
        messages.Enter not in harness(messages.Failed(harness.ticket, DOWN))
        or harness.machine.due > harness.now
    )
    assert harness(messages.TimerFired(), after=5.0) == [messages.Enter]


def test_claim_of_a_late_enter_is_reaped(harness: Harness) -> None:
    """The session ended while the answer was on its way."""
    harness.entering()
    late = harness.ticket
    harness.lease.end(LostReason.SESSION_LOST)
    harness(messages.LeaseEnded(harness.lease, LostReason.SESSION_LOST))

    assert harness(messages.Entered(late, harness.claim)) == [messages.ReapClaim]
    assert harness(messages.Failed(late, ClaimOutcomeUnknown("?", harness.claim))) == [
        messages.ReapClaim
    ]
    assert harness(messages.Failed(late, DOWN)) == []


@pytest.mark.parametrize(
    "phase",
    [Phase.ENTERING, Phase.WAITING, Phase.LEADING, Phase.WITHDRAWING],
)
def test_lost_session_is_replaced_in_each_phase(phase: Phase) -> None:
    """`LeaseEnded` is the only report of it, and comes in any phase."""
    harness = Harness().at(phase)
    if phase in {Phase.WAITING, Phase.LEADING}:
        harness(messages.StatusChanged())
    harness.lease.end(LostReason.SESSION_LOST)
    harness(messages.LeaseEnded(harness.lease, LostReason.SESSION_LOST))
    assert (Lost(LostReason.SESSION_LOST) in harness.events) == (phase is Phase.LEADING)
    if phase is Phase.LEADING:
        harness(messages.WorkFinished())

    assert harness.phase is Phase.BACKING_OFF
    assert messages.AcquireSession in harness(messages.TimerFired(), after=5.0)


def test_withdrawal_without_an_answer_releases_the_session(harness: Harness) -> None:
    """The key is not entered on it again, and the cooldown is kept."""
    harness.withdrawing()

    assert harness(messages.Failed(harness.ticket, DOWN)) == [
        messages.ReapClaim,
        messages.Unwatch,
        messages.ReleaseSession,
    ]
    assert harness.machine.due == harness.now + 2.0
    assert messages.AcquireSession in harness(messages.TimerFired(), after=2.0)


@pytest.mark.parametrize("error", [ConfigurationError("no such ttl"), StoreClosed("closed")])
@pytest.mark.parametrize("phase", [Phase.ENTERING, Phase.WAITING, Phase.LEADING])
def test_lasting_error_ends_the_candidate(phase: Phase, error: Exception) -> None:
    """The user gets the error, and the claim is withdrawn."""
    harness = Harness().at(phase)
    if phase is not Phase.ENTERING:
        harness(messages.StatusChanged())
    assert isinstance(error, ConfigurationError | StoreClosed)
    harness(messages.Failed(harness.ticket, error))
    assert messages.Fail(error) in harness.commands
    if phase is Phase.LEADING:
        assert harness.events == [Resigned()]
        harness(messages.WorkFinished())
    if phase is not Phase.ENTERING:
        harness(messages.Withdrawn(harness.ticket))

    assert harness.events == [Stopped()]
    assert harness.phase is Phase.STOPPED


# -- leaving ------------------------------------------------------------------------------------

LIVELY = [one for one in Phase if one is not Phase.STOPPED]


@pytest.mark.parametrize("phase", LIVELY)
def test_stop_emits_stopped_in_each_phase(phase: Phase) -> None:
    """No command follows it, whatever the input."""
    harness = Harness().at(phase)
    last = harness.ticket if phase in {Phase.ENTERING, Phase.WITHDRAWING} else 0
    seen: list[Event] = []
    harness(messages.Stop())
    seen += harness.events
    if phase is Phase.ENTERING:
        harness(messages.Entered(last, harness.claim))
    if harness.phase is Phase.DRAINING:
        harness(messages.WorkFinished())
    if harness.phase is Phase.WITHDRAWING:
        harness(messages.Withdrawn(last if phase is Phase.WITHDRAWING else harness.ticket))
        seen += harness.events

    assert harness.phase is Phase.STOPPED
    assert seen == ([Resigned(), Stopped()] if phase is Phase.LEADING else [Stopped()])
    for late in (
        messages.Start(), messages.Stop(), messages.TimerFired(), messages.StatusChanged(), messages.Renewed(), messages.RenewalFailed(DOWN),
        messages.SessionReady(harness.lease), messages.LeaseEnded(harness.lease, LostReason.EXPIRED), messages.WorkFinished(), messages.Abandon(),
        messages.SessionRejected(ConfigurationError("x")), messages.Failed(99, DOWN), messages.Withdrawn(99),
    ):  # fmt: skip
        assert harness(late) == []


@pytest.mark.parametrize("phase", LIVELY)
def test_abandon_ends_at_once_in_each_phase(phase: Phase) -> None:
    """It waits for no answer; a claim that may be left at the store is reaped."""
    harness = Harness().at(phase)
    harness(messages.Abandon())

    assert harness.phase is Phase.STOPPED
    assert harness.events == ([Resigned(), Stopped()] if phase is Phase.LEADING else [Stopped()])
    assert any(isinstance(one, messages.ReapClaim) for one in harness.commands) == (
        phase in {Phase.WAITING, Phase.LEADING, Phase.DRAINING, Phase.WITHDRAWING}
    )


@pytest.mark.parametrize("phase", LIVELY)
def test_start_after_leaving_for_a_while_campaigns_again(phase: Phase) -> None:
    """`leading` leaves at its exit, and campaigns again when it is entered once more."""
    harness = Harness().at(phase)
    last = harness.ticket if phase in {Phase.ENTERING, Phase.WITHDRAWING} else 0
    harness(messages.Stop(for_good=False))
    if phase is Phase.ENTERING:
        harness(messages.Entered(last, harness.claim))
    if harness.phase is Phase.DRAINING:
        harness(messages.WorkFinished())
    if harness.phase is Phase.WITHDRAWING:
        harness(messages.Withdrawn(last if phase is Phase.WITHDRAWING else harness.ticket))

    assert harness.phase is Phase.IDLE
    assert harness.events == []
    commands = harness(messages.Start())
    if phase is Phase.CHECKING_READINESS:
        commands = harness(messages.ReadinessReported(ready=True))
    assert commands[-1] is messages.AcquireSession
    # `Campaigning` twice in a row would be out of turn: only a term's end lies between two.
    news = phase not in {Phase.OPENING_SESSION, Phase.QUEUED, Phase.ENTERING, Phase.WAITING}
    assert harness.events == ([Campaigning()] if news else [])


def test_start_before_it_has_left_continues_the_campaign(harness: Harness) -> None:
    """It does not become idle in between."""
    harness.leading()
    harness(messages.Stop(for_good=False))
    harness(messages.Start())
    harness(messages.WorkFinished())
    harness(messages.Withdrawn(harness.ticket))

    assert harness.phase is Phase.BACKING_OFF


def test_suspension_in_the_next_term_is_reported_again(harness: Harness) -> None:
    """The previous term ended while it was suspended, without `Resumed`."""
    harness.leading()
    harness(messages.RenewalFailed(DOWN))
    harness(messages.Resign(7, 0.0))
    harness(messages.WorkFinished())
    harness(messages.Withdrawn(harness.ticket))
    harness(messages.Entered(harness.ticket, Claim("key", _Session(), b"me")))
    harness(messages.StatusReceived(harness.ticket, Leading(8)))
    assert harness.phase is Phase.LEADING

    harness(messages.RenewalFailed(DOWN))

    assert [type(one) for one in harness.events] == [Suspended]


def test_stop_while_leaving_for_a_while_is_final(harness: Harness) -> None:
    """The later input counts although the withdrawal is under way already."""
    harness.leading()
    harness(messages.Stop(for_good=False))
    harness(messages.WorkFinished())
    withdrawal = harness.ticket

    harness(messages.Stop())
    harness(messages.Withdrawn(withdrawal))

    assert harness.phase is Phase.STOPPED
    assert harness.events == [Stopped()]


def test_stop_during_a_failing_enter_is_final(harness: Harness) -> None:
    """The enter is not retried."""
    harness.entering()
    asked = harness.ticket
    harness(messages.Stop())

    harness(messages.Failed(asked, DOWN))

    assert harness.phase is Phase.STOPPED
    assert isinstance(harness.events[-1], Stopped)


# -- gates -------------------------------------------------------------------------------------------


def gated(harness: Harness, phase: Phase) -> Harness:
    """A candidate of a program that was ready up to that phase."""
    harness.checking_readiness()
    if phase is Phase.CHECKING_READINESS:
        return harness
    assert harness(messages.ReadinessReported(ready=True))[-1] is messages.AcquireSession
    if phase is Phase.OPENING_SESSION:
        return harness
    assert harness(messages.SessionReady(harness.lease)) == [messages.Enter]
    if phase is Phase.ENTERING:
        return harness
    harness(messages.Entered(harness.ticket, harness.claim))
    if phase is Phase.WAITING:
        return harness
    harness(messages.StatusReceived(harness.ticket, Leading(7)))
    assert harness.phase is Phase.LEADING
    return harness


def test_candidate_that_is_not_ready_has_nothing_at_the_store(harness: Harness) -> None:
    """It neither announces a campaign nor opens a session, however often it is asked."""
    gated(harness, Phase.CHECKING_READINESS)
    assert not harness.machine.held_back
    for _ in range(3):
        assert harness(messages.ReadinessReported(ready=False), after=1.0) == []
        assert harness.machine.held_back
    assert harness.machine.due == inf
    assert harness(messages.ReadinessReported(ready=True)) == [
        messages.Emit,
        messages.AcquireSession,
    ]
    assert not harness.machine.held_back


def test_readiness_is_asked_before_each_campaign(harness: Harness) -> None:
    """Also where the session of the last one goes on."""
    gated(harness, Phase.LEADING)
    harness(messages.Resign(7, 2.0))
    harness(messages.WorkFinished())
    harness(messages.Withdrawn(harness.ticket))
    assert harness(messages.TimerFired(), after=2.0) == [messages.CheckReadiness]
    assert harness(messages.ReadinessReported(ready=False)) == []
    assert harness(messages.ReadinessReported(ready=True), after=1.0) == [
        messages.Emit,
        messages.Enter,
    ]


def test_leader_that_is_not_ready_resigns(harness: Harness) -> None:
    """It stands again only once it is ready, after a wait that grows while it changes often."""
    gated(harness, Phase.LEADING)
    assert harness(messages.ReadinessReported(ready=True)) == []
    harness(messages.ReadinessReported(ready=False))
    assert harness.events == [Resigned()]
    assert messages.Withdraw in harness(messages.WorkFinished())
    harness(messages.Withdrawn(harness.ticket))
    assert harness.phase is Phase.BACKING_OFF
    assert harness(messages.TimerFired(), after=9.0) == [messages.CheckReadiness]


def test_waiting_candidate_that_is_not_ready_withdraws(harness: Harness) -> None:
    """An election that it wins meanwhile begins no term."""
    gated(harness, Phase.WAITING)
    asked = harness.ticket
    assert messages.Withdraw in harness(messages.ReadinessReported(ready=False))
    withdrawal = harness.ticket
    assert harness(messages.StatusReceived(asked, Leading(7))) == []
    assert harness(messages.Withdrawn(withdrawal)) == [messages.Released]
    assert harness.phase is Phase.BACKING_OFF


def test_turn_is_given_back_when_the_withdrawal_is_confirmed(harness: Harness) -> None:
    """The next candidate enters with the same session, which has no claim then."""
    harness.waiting()
    harness.alone = False

    assert messages.LeaveQueue not in harness(messages.Stop())
    assert harness.phase is Phase.WITHDRAWING
    assert messages.LeaveQueue in harness(messages.Withdrawn(harness.ticket))


def test_candidate_whose_program_is_asked_gives_its_turn_back(harness: Harness) -> None:
    """Its claim is absent, so it would enter again at once: until the answer, others may enter."""
    gated(harness, Phase.WAITING)
    harness.alone = False

    commands = harness(messages.StatusReceived(harness.ticket, Absent()))

    assert harness.phase is Phase.CHECKING_READINESS
    assert messages.LeaveQueue in commands
    assert messages.JoinQueue in harness(messages.ReadinessReported(ready=True))


@pytest.mark.parametrize("phase", [Phase.OPENING_SESSION, Phase.ENTERING])
def test_candidate_that_stops_being_ready_before_it_has_a_claim(
    harness: Harness, phase: Phase
) -> None:
    """A session is kept and no claim is made; a claim that is being made is withdrawn."""
    gated(harness, phase)
    if phase is Phase.OPENING_SESSION:
        assert harness(messages.ReadinessReported(ready=False)) == []
        assert harness(messages.SessionReady(harness.lease)) == [messages.CheckReadiness]
        return
    ticket = harness.ticket
    assert harness(messages.ReadinessReported(ready=False)) == []
    granted = Claim("key", _Session(), b"me")
    granted.granted, granted.token = True, 7
    commands = harness(messages.Entered(ticket, granted))
    assert messages.Withdraw in commands
    assert messages.BeginTerm not in commands


def test_session_that_is_lost_while_not_ready_is_released(harness: Harness) -> None:
    """The candidate goes on to wait for the program."""
    gated(harness, Phase.WAITING)
    harness(messages.ReadinessReported(ready=False))
    harness(messages.Withdrawn(harness.ticket))
    harness(messages.TimerFired(), after=5.0)
    assert harness.phase is Phase.CHECKING_READINESS
    assert harness(messages.LeaseEnded(harness.lease, LostReason.EXPIRED)) == [
        messages.ReleaseSession
    ]
    assert harness.phase is Phase.CHECKING_READINESS
    assert harness(messages.ReadinessReported(ready=True)) == [messages.AcquireSession]


def test_watchdog_ends_the_term_as_lost(harness: Harness) -> None:
    """The claim is kept while the work goes on, to the end of the lease at most."""
    harness.leading()
    assert harness(messages.WatchdogExpired(6)) == []
    harness(messages.WatchdogExpired(7))
    assert harness.events == [Lost(LostReason.WATCHDOG)]
    assert harness.phase is Phase.DRAINING
    assert harness(messages.WatchdogExpired(7)) == []
    assert harness.machine.due == harness.lease.deadline
    deadline = harness.lease.deadline
    harness.lease.acknowledge(harness.now + 5.0, 9.0)
    assert messages.Withdraw in harness(messages.TimerFired(), after=deadline - harness.now)
    harness(messages.Withdrawn(harness.ticket))
    assert harness.machine.due == inf  # it campaigns again when the work has ended
    harness(messages.WorkFinished())
    assert harness.machine.due < inf


def test_watchdog_backs_off_longer_each_time(harness: Harness) -> None:
    """Also where each term lasts, because work that has hung may hang again."""
    waits = []
    harness.entering()
    for _ in range(12):
        harness(messages.Entered(harness.ticket, harness.claim))
        harness(messages.StatusReceived(harness.ticket, Leading(7)))
        for _ in range(4):
            harness.now += 5.0
            harness.lease.acknowledge(harness.now, 9.0)
        harness(messages.WatchdogExpired(7))
        harness(messages.WorkFinished())
        harness(messages.Withdrawn(harness.ticket))
        waits.append(harness.machine.due - harness.now)
        harness.lease.acknowledge(harness.now, 9.0)
        harness(messages.TimerFired(), after=waits[-1])
        harness.lease.acknowledge(harness.now, 9.0)
    assert max(waits[:2]) < 0.25
    assert max(waits[6:]) > 1.0
