"""The state machine of a candidate, step by step: inputs go in, commands come out."""

from __future__ import annotations

import math
from math import inf

import pytest

from leadership_core.backend.protocols import Absent, Claim, Leading, Waiting
from leadership_core.engine import messages
from leadership_core.engine.lease import Lease
from leadership_core.engine.messages import Phase
from leadership_core.events import (
    Campaigning,
    Lost,
    LostReason,
    Resigned,
)
from tests.unit.machine_harness import DOWN, Harness, RenewableSession

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
            harness(messages.Entered(harness.ticket, Claim("key", RenewableSession(), b"me")))
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
            harness(messages.Entered(harness.ticket, Claim("key", RenewableSession(), b"me")))
            harness(messages.StatusReceived(harness.ticket, Leading(7 + terms)))
        else:
            harness(messages.TimerFired(), after=max(0.001, harness.machine.due - harness.now))

    assert 20 < terms < 100
