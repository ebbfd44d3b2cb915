"""The state machine of a candidate: readiness and watchdog."""

from __future__ import annotations

from math import inf

import pytest

from leadership_core.backend.protocols import Absent, Claim, Leading
from leadership_core.engine import messages
from leadership_core.engine.messages import Phase
from leadership_core.events import (
    Lost,
    LostReason,
    Resigned,
)
from tests.unit.machine_harness import Harness, RenewableSession


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
    granted = Claim("key", RenewableSession(), b"me")
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
