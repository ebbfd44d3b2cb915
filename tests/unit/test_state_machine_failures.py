"""The state machine of a candidate: requests and sessions that fail."""

from __future__ import annotations

import pytest

from leadership_core.backend.protocols import Absent, Claim, ClaimOutcomeUnknown, Leading, Waiting
from leadership_core.engine import messages
from leadership_core.engine.messages import Phase
from leadership_core.errors import ConfigurationError, StoreClosed
from leadership_core.events import (
    Lost,
    LostReason,
    Resigned,
    Resumed,
    Stopped,
    StoreDown,
    StoreUp,
    Suspended,
)
from tests.unit.machine_harness import DOWN, Harness, RenewableSession


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

    harness(messages.Entered(harness.ticket, Claim("key", RenewableSession(), b"me")))
    harness(messages.StatusReceived(harness.ticket, Absent()))
    assert harness.events == []

    harness(messages.TimerFired(), after=harness.machine.due - harness.now)
    harness(messages.Entered(harness.ticket, Claim("key", RenewableSession(), b"me")))
    harness(messages.StatusReceived(harness.ticket, Waiting(watched=False)))
    assert harness.events == []

    harness(messages.StatusChanged())
    harness(messages.StatusReceived(harness.ticket, Waiting()))
    assert harness.events == [StoreUp()]


def test_unknown_outcome_of_an_enter_releases_the_session(harness: Harness) -> None:
    """That session must not enter the key again, and the claim is reaped."""
    harness.entering()
    unknown = Claim("key", RenewableSession(), b"me", settled=False)

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
