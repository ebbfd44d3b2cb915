"""What a campaign does, step by step: what happened goes in, what is to be done comes out."""

from __future__ import annotations

import math
import random
from math import inf

import pytest

from leadership_core.errors import (
    ClaimUnknown,
    ConfigurationError,
    SessionLost,
    StoreClosed,
    StoreUnavailable,
)
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
from leadership_core.lease import Lease
from leadership_core.machine import Campaign, Phase, actions as do, happenings as on
from leadership_core.store import Absent, Claim, Leading, Waiting

DOWN = StoreUnavailable("no answer")


class _Session:
    id = "s"
    ttl = 9.0

    def renew(self) -> float:
        return 9.0

    def close(self) -> None:
        pass


class Hand:
    """Drives one campaign by hand; `told` and `done` are what came of the last step."""

    def __init__(self) -> None:
        self.now = 100.0
        self.campaign = Campaign(9.0, random.Random(1))
        self.done: list[do.Action] = []
        self.told: list[Event] = []
        self.lease = self.new_lease()
        self.claim = Claim("key", _Session(), b"me")

    def new_lease(self) -> Lease:
        lease = Lease(9.0, now=lambda: self.now)
        lease.acknowledge(self.now, 9.0)
        return lease

    def __call__(self, happening: on.Happening, after: float = 0.0) -> list[type[do.Action]]:
        self.now += after
        self.done = self.campaign.step(self.now, happening)
        self.told = [one.event for one in self.done if isinstance(one, (do.Tell, do.Disbelieve))]
        return [type(one) for one in self.done]

    @property
    def phase(self) -> Phase:
        return self.campaign.phase

    @property
    def ticket(self) -> int:
        """Of the request that the last step sent."""
        return next(
            one.ticket for one in self.done if isinstance(one, do.Enter | do.Ask | do.Withdraw)
        )

    def joining(self) -> Hand:
        assert self(on.Start()) == [do.Tell, do.Join]
        return self

    def entering(self) -> Hand:
        self.joining()
        assert self(on.Joined(self.lease)) == [do.Enter]
        return self

    def waiting(self) -> Hand:
        self.entering()
        assert self(on.Entered(self.ticket, self.claim)) == [do.Ask]
        asked = self.ticket
        assert self(on.Stood(asked, Waiting())) == []
        return self

    def leading(self, token: int = 7) -> Hand:
        self.waiting()
        assert self(on.Turned()) == [do.Ask]
        assert self(on.Stood(self.ticket, Leading(token))) == [do.Believe]
        return self

    def draining(self) -> Hand:
        self.leading()
        self(on.Resign(7, 2.0))
        return self

    def withdrawing(self) -> Hand:
        self.draining()
        assert do.Withdraw in self(on.Drained())
        return self

    def resting(self) -> Hand:
        self.withdrawing()
        self(on.Withdrawn(self.ticket))
        return self

    def at(self, phase: Phase) -> Hand:
        if phase is not Phase.IDLE:
            getattr(self, phase.name.lower())()
        assert self.phase is phase
        return self


@pytest.fixture
def hand() -> Hand:
    return Hand()


# -- standing -----------------------------------------------------------------------------------


def test_the_way_to_leading(hand: Hand) -> None:
    """A session, a claim, a look at it, and then belief, with the token of the look."""
    hand.leading(token=12)

    assert hand.phase is Phase.LEADING
    assert hand.done == [do.Believe(12)]
    assert hand.claim.token == 12
    assert hand.campaign.due == inf


def test_granted_claim_is_believed_and_looked_at(hand: Hand) -> None:
    """The answer to entering said that it leads; what came since is asked about at once."""
    hand.entering()
    hand.claim.token, hand.claim.granted = 9, True

    assert hand(on.Entered(hand.ticket, hand.claim)) == [do.Believe, do.Ask]
    hand(on.Stood(hand.ticket, Absent()))
    assert hand.told == [Lost(LostReason.DELETED)]


def test_granted_claim_of_a_lease_that_is_over_is_not_believed(hand: Hand) -> None:
    """The answer took too long."""
    hand.entering()
    hand.claim.token, hand.claim.granted = 9, True

    assert do.Believe not in hand(on.Entered(hand.ticket, hand.claim), after=8.5)


def test_start_says_campaigning_once(hand: Hand) -> None:
    """However many iterators are begun."""
    hand.joining()
    assert hand.told == [Campaigning()]
    for _ in range(3):
        assert hand(on.Start()) == []


def test_a_lease_that_is_over_is_not_believed_in(hand: Hand) -> None:
    """The store says that the claim leads; the answer took too long."""
    hand.waiting()
    hand(on.Turned())
    asked = hand.ticket

    assert do.Believe not in hand(on.Stood(asked, Leading(7)), after=9.0)
    assert hand.phase is not Phase.LEADING


def test_stale_answers_are_not_listened_to(hand: Hand) -> None:
    """An answer to an earlier question says nothing about now."""
    hand.waiting()
    hand(on.Turned())
    old = hand.ticket
    assert hand(on.Failed(old, DOWN)) == [do.Tell, do.Ask]
    assert hand.ticket != old

    assert hand(on.Stood(old, Leading(7))) == []
    assert hand.phase is Phase.WAITING


def test_changes_during_a_question_are_asked_about_after_it(hand: Hand) -> None:
    """One question at a time, and none too few."""
    hand.waiting()
    assert hand(on.Turned()) == [do.Ask]
    asked = hand.ticket
    assert hand(on.Turned()) == []
    assert hand(on.Turned()) == []

    assert hand(on.Stood(asked, Waiting())) == [do.Ask]
    assert hand(on.Stood(hand.ticket, Waiting())) == []


def test_answer_that_is_not_watched_is_asked_for_again_soon(hand: Hand) -> None:
    """Its end might not be heard of; with the watch up to date, nothing is asked without cause."""
    hand.entering()
    hand(on.Entered(hand.ticket, hand.claim))
    assert hand(on.Stood(hand.ticket, Waiting(watched=False))) == []
    assert hand.campaign.due <= hand.now + 0.1
    assert hand(on.Tick(), after=0.1) == [do.Ask]
    assert hand(on.Stood(hand.ticket, Leading(7, watched=False))) == [do.Believe]
    assert hand.campaign.due <= hand.now + 0.2
    assert hand(on.Tick(), after=0.2) == [do.Ask]

    assert hand(on.Stood(hand.ticket, Leading(7))) == []
    assert hand.campaign.due == math.inf


def test_absent_claim_is_entered_at_once_and_then_slower(hand: Hand) -> None:
    """The way is free; but a store that grants nothing is not asked in a hot loop."""
    hand.waiting()
    hand(on.Turned())
    assert hand(on.Stood(hand.ticket, Absent())) == [do.Unwatch, do.Enter]
    enters, start = 0, hand.now
    while hand.now < start + 60.0:
        if any(isinstance(one, do.Ask) for one in hand.done):
            hand(on.Stood(hand.ticket, Absent()))
        elif any(isinstance(one, do.Enter) for one in hand.done):
            enters += 1
            hand(on.Entered(hand.ticket, Claim("key", _Session(), b"me")))
        else:
            hand.lease.deadline = hand.now + 100
            hand(on.Tick(), after=max(0.001, hand.campaign.due - hand.now))
    assert 10 < enters < 50


def test_wild_wakes_are_answered_at_a_pace(hand: Hand) -> None:
    """Whatever a plugin calls."""
    hand.waiting()
    asks, start = 0, hand.now
    while hand.now < start + 10.0:
        hand.lease.deadline = hand.now + 100
        if do.Ask in hand(on.Turned(), after=0.001):
            asks += 1
            hand(on.Stood(hand.ticket, Waiting()))

    assert 100 < asks < 300


def test_session_that_comes_to_nothing_is_replaced(hand: Hand) -> None:
    """Its first renewal failed, so it was never told as joined."""
    hand.joining()
    assert do.Part in hand(on.LeaseOver(Lease(9.0)))
    assert hand.phase is Phase.RESTING

    assert hand(on.Tick(), after=5.0) == [do.Join]


# -- the end of a term --------------------------------------------------------------------------


def test_belief_ends_before_anything_is_told_to_the_store(hand: Hand) -> None:
    """Work of the term may still be going on; its claim stands until that has ended."""
    hand.leading()

    assert hand(on.Resign(7, 2.0)) == [do.Disbelieve]
    assert hand.told == [Resigned()]
    assert hand(on.Drained()) == [do.Withdraw, do.Unwatch]
    assert hand(on.Withdrawn(hand.ticket)) == [do.Released]
    assert hand.phase is Phase.RESTING


def test_cooldown_is_kept(hand: Hand) -> None:
    """Others win meanwhile."""
    hand.resting()
    assert hand.campaign.due == hand.now + 2.0
    assert hand(on.Turned(), after=1.9) == []

    assert hand(on.Tick(), after=0.11) == [do.Tell, do.Enter]
    assert hand.told == [Campaigning()]


def test_resign_of_an_earlier_term_does_nothing(hand: Hand) -> None:
    """It came late."""
    hand.leading(token=8)

    assert hand(on.Resign(7, 0.0)) == []
    assert hand.phase is Phase.LEADING


def test_work_has_until_the_deadline_it_was_done_under(hand: Hand) -> None:
    """Renewals go on meanwhile; after it the claim is withdrawn, and nobody enters anew."""
    hand.leading()
    deadline = hand.lease.deadline
    hand(on.Resign(7, 0.0))
    hand.now = deadline - 1
    hand.lease.acknowledge(hand.now, 9.0)
    assert hand(on.Tick()) == []

    assert do.Withdraw in hand(on.Tick(), after=1.0)
    assert hand(on.Withdrawn(hand.ticket)) == [do.Released]
    assert hand.phase is Phase.DRAINING
    assert hand(on.Tick(), after=0.5) == []
    assert hand(on.Drained()) == [do.Tell, do.Enter]


def test_work_that_outlives_its_session_leaves_a_dead_one(hand: Hand) -> None:
    """What is entered after it needs another session."""
    hand.leading()
    hand(on.Resign(7, 0.0))
    hand.lease.acknowledge(hand.now, 9.0)
    hand(on.Tick(), after=8.5)
    hand.lease.deadline = hand.now + 1
    hand(on.Withdrawn(hand.ticket) if hand.phase is Phase.WITHDRAWING else on.Tick())
    hand.now += 20
    hand(on.LeaseOver(hand.lease))
    hand(on.Drained())
    actions = hand(on.Tick(), after=5.0)

    assert do.Enter not in actions
    assert hand.phase is Phase.JOINING


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (Absent(), LostReason.DELETED),
        (Waiting(), LostReason.DELETED),
        (Absent(overwritten=True), LostReason.OVERWRITTEN),
        (Leading(8), LostReason.OVERWRITTEN),
    ],
)
def test_what_an_operator_did_is_told(
    hand: Hand, standing: Absent | Waiting | Leading, reason: LostReason
) -> None:
    """In the answer to the first look after it."""
    hand.leading(token=7)
    hand(on.Turned())
    hand(on.Stood(hand.ticket, standing))

    assert hand.told == [Lost(reason)]
    assert hand.phase is Phase.DRAINING


def test_term_ends_with_the_clock_whatever_happens_first(hand: Hand) -> None:
    """After a pause the first thing that happens may be anything."""
    for happening in (
        on.Tick(),
        on.Turned(),
        on.Renewed(),
        on.Resign(7, 0.0),
        on.Stop(),
        on.Start(),
    ):
        each = Hand().leading()
        each(happening, after=8.2)
        assert each.told[0] == Lost(LostReason.EXPIRED), happening
        assert sum(isinstance(one, Lost | Resigned) for one in each.told) == 1, happening


def test_ended_session_is_left_and_its_claim_looked_after(hand: Hand) -> None:
    """It is never adopted; it may stand until the session's end."""
    hand.leading()
    hand.lease.end(LostReason.SESSION_LOST)
    assert hand(on.LeaseOver(hand.lease)) == [do.Disbelieve]
    assert hand.told == [Lost(LostReason.SESSION_LOST)]

    actions = hand(on.Drained())
    assert actions[0] is do.Discard
    assert actions[-1] is do.Part
    assert hand.phase is Phase.RESTING
    assert hand(on.Tick(), after=5.0) == [do.Tell, do.Join]


def test_repeated_losses_are_not_a_hot_loop(hand: Hand) -> None:
    """A store that takes every term away at once."""
    hand.leading()
    terms, start = 0, hand.now
    while hand.now < start + 120:
        hand.lease.deadline = hand.now + 9
        if hand.phase is Phase.LEADING:
            terms += 1
            hand(on.Turned())
            hand(on.Stood(hand.ticket, Absent()))
            hand(on.Drained())
            hand(on.Withdrawn(hand.ticket))
        elif any(isinstance(one, do.Enter) for one in hand.done):
            hand(on.Entered(hand.ticket, Claim("key", _Session(), b"me")))
            hand(on.Stood(hand.ticket, Leading(7 + terms)))
        else:
            hand(on.Tick(), after=max(0.001, hand.campaign.due - hand.now))

    assert 20 < terms < 100


# -- trouble ------------------------------------------------------------------------------------


def test_trouble_is_told_once_and_its_end_too(hand: Hand) -> None:
    """`StoreDown` and `StoreUp` take turns, and so do `Suspended` and `Resumed`."""
    hand.leading()
    hand(on.RenewalFailed(DOWN), after=1.0)
    assert hand.told == [StoreDown(DOWN), Suspended(hand.lease.deadline - hand.now)]
    hand(on.RenewalFailed(DOWN), after=1.0)
    assert hand.told == []
    hand(on.Renewed())
    assert hand.told == [StoreUp(), Resumed()]
    hand(on.Renewed())
    assert hand.told == []


def test_store_is_up_only_when_all_ways_to_it_are(hand: Hand) -> None:
    """Renewals may work while the key may not be read."""
    hand.leading()
    hand(on.Turned())
    assert hand(on.Failed(hand.ticket, DOWN)) == [do.Tell, do.Ask]
    assert hand.told == [StoreDown(DOWN)]
    asked = hand.ticket
    hand(on.Renewed())
    assert hand.told == []
    assert hand.phase is Phase.LEADING

    hand(on.Stood(asked, Leading(7)))
    assert hand.told == [StoreUp()]


def test_unknown_claim_makes_the_session_unfit_for_the_key(hand: Hand) -> None:
    """It is left, and the claim is looked after."""
    hand.entering()
    unknown = Claim("key", _Session(), b"me", settled=False)

    actions = hand(on.Failed(hand.ticket, ClaimUnknown("no answer", unknown)))
    assert do.Discard(unknown) in hand.done
    assert do.Part in actions
    assert actions[-1] is do.Join


def test_enter_that_reached_nobody_is_tried_again(hand: Hand) -> None:
    """On the same session: at once, and then slower."""
    hand.entering()
    assert do.Enter in hand(on.Failed(hand.ticket, DOWN))
    assert do.Enter not in hand(on.Failed(hand.ticket, DOWN)) or hand.campaign.due > hand.now
    assert hand(on.Tick(), after=5.0) == [do.Enter]


def test_late_answers_to_an_enter_are_not_forgotten(hand: Hand) -> None:
    """Its claim is not wanted any more, and must go."""
    hand.entering()
    late = hand.ticket
    hand.lease.end(LostReason.SESSION_LOST)
    hand(on.LeaseOver(hand.lease))

    assert hand(on.Entered(late, hand.claim)) == [do.Discard]
    assert hand(on.Failed(late, ClaimUnknown("?", hand.claim))) == [do.Discard]
    assert hand(on.Failed(late, DOWN)) == []


@pytest.mark.parametrize(
    "phase",
    [Phase.ENTERING, Phase.WAITING, Phase.LEADING, Phase.WITHDRAWING],
)
def test_lost_session_is_replaced_whatever_was_asked(phase: Phase) -> None:
    """`SessionLost` may be the answer to any request."""
    hand = Hand().at(phase)
    if phase in {Phase.WAITING, Phase.LEADING}:
        hand(on.Turned())
    hand(on.Failed(hand.ticket, SessionLost("gone")))
    assert (Lost(LostReason.SESSION_LOST) in hand.told) == (phase is Phase.LEADING)
    if phase is Phase.LEADING:
        hand.lease.end(LostReason.SESSION_LOST)
        hand(on.Drained())

    assert hand.phase is Phase.RESTING
    assert do.Join in hand(on.Tick(), after=5.0)


def test_withdrawal_without_an_answer_leaves_the_session(hand: Hand) -> None:
    """The key is not entered on it again; the cooldown is kept all the same."""
    hand.withdrawing()

    assert hand(on.Failed(hand.ticket, DOWN)) == [do.Discard, do.Unwatch, do.Part]
    assert hand.campaign.due == hand.now + 2.0
    assert do.Join in hand(on.Tick(), after=2.0)


@pytest.mark.parametrize("error", [ConfigurationError("no such ttl"), StoreClosed("closed")])
@pytest.mark.parametrize("phase", [Phase.ENTERING, Phase.WAITING, Phase.LEADING])
def test_what_a_person_must_mend_ends_it(phase: Phase, error: Exception) -> None:
    """The user gets the error; the claim is withdrawn first."""
    hand = Hand().at(phase)
    if phase is not Phase.ENTERING:
        hand(on.Turned())
    assert isinstance(error, ConfigurationError | StoreClosed)
    hand(on.Failed(hand.ticket, error))
    assert do.Raise(error) in hand.done
    if phase is Phase.LEADING:
        assert hand.told == [Resigned()]
        hand(on.Drained())
    if phase is not Phase.ENTERING:
        hand(on.Withdrawn(hand.ticket))

    assert hand.told == [Stopped()]
    assert hand.phase is Phase.STOPPED


# -- leaving ------------------------------------------------------------------------------------

LIVELY = [one for one in Phase if one is not Phase.STOPPED]


@pytest.mark.parametrize("phase", LIVELY)
def test_stop_ends_with_stopped_from_everywhere(phase: Phase) -> None:
    """And nothing comes after it."""
    hand = Hand().at(phase)
    last = hand.ticket if phase in {Phase.ENTERING, Phase.WITHDRAWING} else 0
    told: list[Event] = []
    hand(on.Stop())
    told += hand.told
    if phase is Phase.ENTERING:
        hand(on.Entered(last, hand.claim))
    if hand.phase is Phase.DRAINING:
        hand(on.Drained())
    if hand.phase is Phase.WITHDRAWING:
        hand(on.Withdrawn(last if phase is Phase.WITHDRAWING else hand.ticket))
        told += hand.told

    assert hand.phase is Phase.STOPPED
    assert told == ([Resigned(), Stopped()] if phase is Phase.LEADING else [Stopped()])
    for late in (
        on.Start(), on.Stop(), on.Tick(), on.Turned(), on.Renewed(), on.RenewalFailed(DOWN),
        on.Joined(hand.lease), on.LeaseOver(hand.lease), on.Drained(), on.Abandon(),
        on.Refused(ConfigurationError("x")), on.Failed(99, DOWN), on.Withdrawn(99),
    ):  # fmt: skip
        assert hand(late) == []


@pytest.mark.parametrize("phase", LIVELY)
def test_abandon_ends_at_once_from_everywhere(phase: Phase) -> None:
    """Nothing is waited for; what may be left at the store is said."""
    hand = Hand().at(phase)
    hand(on.Abandon())

    assert hand.phase is Phase.STOPPED
    assert hand.told == ([Resigned(), Stopped()] if phase is Phase.LEADING else [Stopped()])
    assert any(isinstance(one, do.Discard) for one in hand.done) == (
        phase in {Phase.WAITING, Phase.LEADING, Phase.DRAINING, Phase.WITHDRAWING}
    )


@pytest.mark.parametrize("phase", LIVELY)
def test_leaving_for_a_while_can_be_taken_back(phase: Phase) -> None:
    """`leading` leaves, and stands again when it is entered once more."""
    hand = Hand().at(phase)
    last = hand.ticket if phase in {Phase.ENTERING, Phase.WITHDRAWING} else 0
    hand(on.Stop(for_good=False))
    if phase is Phase.ENTERING:
        hand(on.Entered(last, hand.claim))
    if hand.phase is Phase.DRAINING:
        hand(on.Drained())
    if hand.phase is Phase.WITHDRAWING:
        hand(on.Withdrawn(last if phase is Phase.WITHDRAWING else hand.ticket))

    assert hand.phase is Phase.IDLE
    assert hand.told == []
    actions = hand(on.Start())
    assert actions[-1] is do.Join
    # `Campaigning` twice in a row would be out of turn: only a term's end lies between two.
    news = phase not in {Phase.JOINING, Phase.ENTERING, Phase.WAITING}
    assert hand.told == ([Campaigning()] if news else [])


def test_start_before_it_has_left_keeps_it_in_the_race(hand: Hand) -> None:
    """It does not go idle in between."""
    hand.leading()
    hand(on.Stop(for_good=False))
    hand(on.Start())
    hand(on.Drained())
    hand(on.Withdrawn(hand.ticket))

    assert hand.phase is Phase.RESTING


def test_trouble_in_the_next_term_is_told_anew(hand: Hand) -> None:
    """The term before ended in the midst of it, so nobody was told that it had passed."""
    hand.leading()
    hand(on.RenewalFailed(DOWN))
    hand(on.Resign(7, 0.0))
    hand(on.Drained())
    hand(on.Withdrawn(hand.ticket))
    hand(on.Entered(hand.ticket, Claim("key", _Session(), b"me")))
    hand(on.Stood(hand.ticket, Leading(8)))
    assert hand.phase is Phase.LEADING

    hand(on.RenewalFailed(DOWN))

    assert [type(one) for one in hand.told] == [Suspended]


def test_stop_while_it_leaves_for_a_while_is_for_good(hand: Hand) -> None:
    """The later word counts, though the withdrawal is under way already."""
    hand.leading()
    hand(on.Stop(for_good=False))
    hand(on.Drained())
    withdrawal = hand.ticket

    hand(on.Stop())
    hand(on.Withdrawn(withdrawal))

    assert hand.phase is Phase.STOPPED
    assert hand.told == [Stopped()]


def test_stop_during_an_entering_that_fails_is_the_end(hand: Hand) -> None:
    """Nothing is left to try again for."""
    hand.entering()
    asked = hand.ticket
    hand(on.Stop())

    hand(on.Failed(asked, DOWN))

    assert hand.phase is Phase.STOPPED
    assert isinstance(hand.told[-1], Stopped)
