"""The state machine of a candidate: resigning, leaving and stopping."""

from __future__ import annotations

import pytest

from leadership_core.backend.protocols import Claim, Leading
from leadership_core.engine import messages
from leadership_core.engine.messages import Phase
from leadership_core.errors import ConfigurationError
from leadership_core.events import (
    Campaigning,
    Event,
    LostReason,
    Resigned,
    Stopped,
    Suspended,
)
from tests.unit.machine_harness import DOWN, Harness, RenewableSession

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
    harness(messages.Entered(harness.ticket, Claim("key", RenewableSession(), b"me")))
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
