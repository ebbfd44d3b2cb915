from __future__ import annotations

import pytest

from leadership_core.testing import Belief, History, Note
from tests.faults.chronicle import Fault
from tests.faults.verdict import Run, judge, recoveries
from tests.faults.witness import Holder, Look


def _history(*beliefs: Belief) -> History:
    """Those who believed, each with the events that belong to it."""
    history = History()
    for belief in beliefs:
        history.beliefs.append(belief)
        history.notes += [
            Note(belief.who, "campaigning", None, belief.since),
            Note(belief.who, "elected", belief.token, belief.since),
            Note(belief.who, "lost", None, belief.until),
        ]
    return history


def _looks(*seen: tuple[float, int | None]) -> list[Look]:
    """What was seen at those times, each within a hundredth of a second."""
    return [
        Look(at, at + 0.01, None if token is None else Holder(token, f"t{token}"))
        for at, token in seen
    ]


def _fault(since: float, until: float | None, *, heals: bool = True) -> Fault:
    end = None if until is None else int(until * 1e9)
    return Fault("a cut", int(since * 1e9), end, heals=heals)


SOUND = _history(Belief("a", 5, 1.0, 3.0), Belief("b", 7, 4.0, 6.0))
SEEN = _looks((0.5, None), (0.9, 5), (2.0, 5), (3.2, 5), (3.9, 7), (5.0, 7), (6.5, None))


def test_sound_run_passes() -> None:
    """Two terms, the store says the same, and somebody leads after the fault."""
    run = Run(SOUND, SEEN, [_fault(2.0, 3.5)], recovery=2.0, ended=7.0)

    assert judge(run) == []


def test_two_believers_are_found() -> None:
    """What the candidates say of themselves is enough for that."""
    run = Run(_history(Belief("a", 5, 1.0, 3.0), Belief("b", 7, 2.9, 6.0)), _looks((0.0, None)))

    assert any("two believers" in one for one in judge(run))


@pytest.mark.parametrize("gap", [0.0, 0.3])
def test_gap_is_for_deletions_by_hand(gap: float) -> None:
    """For as long as it may take to be told, a belief may go on; not where nothing is allowed."""
    run = Run(_history(Belief("a", 5, 1.0, 3.0)), _looks((1.5, 5), (2.8, None)), gap=gap)

    assert bool(judge(run)) == (gap == 0.0)


# -- the store's own tokens -----------------------------------------------------------------


@pytest.mark.parametrize(
    "seen",
    [
        [(1.0, 5), (2.0, 4)],
        [(1.0, 5), (2.0, None), (3.0, 4)],
        [(1.0, 5), (2.0, None), (3.0, 5)],
    ],
)
def test_tokens_of_the_store_that_do_not_grow(seen: list[tuple[float, int | None]]) -> None:
    """From holder to holder they grow; one that has gone does not come back."""
    run = Run(History(), _looks(*seen))

    assert ["the store's tokens do not grow" in one for one in judge(run)] == [True]
    run.forgets = True
    assert judge(run) == []


def test_store_that_forgets_gives_small_tokens_again() -> None:
    """Where the scenario says so, and nowhere else."""
    again = _history(Belief("a", 5, 1.0, 3.0), Belief("b", 5, 4.0, 6.0))
    run = Run(again, _looks((2.0, 5), (3.5, None), (5.0, 5)), forgets=True)

    assert judge(run) == []
    run.forgets = False
    assert {one.split(":")[0] for one in judge(run)} == {
        "tokens do not grow",
        "token 5 was given twice",
        "the store's tokens do not grow",
    }


# -- beliefs by the store's word --------------------------------------------------------------


@pytest.mark.parametrize("token", [None, 4, 6])
def test_belief_that_the_store_does_not_share(token: int | None) -> None:
    """The store was seen while one believed, and it said somebody else, or nobody."""
    run = Run(_history(Belief("a", 5, 1.0, 3.0)), _looks((0.9, token), (2.0, token)))

    assert ["a belief that the store did not share" in one for one in judge(run)] == [True]


def test_belief_between_two_looks() -> None:
    """A term so short that nobody saw it is no phantom."""
    run = Run(_history(Belief("a", 5, 1.0, 1.02)), _looks((0.995, None), (1.015, None)))

    assert judge(run) == []


def test_belief_while_the_store_is_not_seen() -> None:
    """While the servers are down, nothing is known of them; what comes afterwards is."""
    during = Run(_history(Belief("a", 5, 1.0, 3.0)), _looks((0.9, None), (3.1, 6)))

    assert judge(during) == []
    during.history.beliefs[0].until = 3.2
    assert len(judge(during)) == 1


def test_belief_that_outlives_a_look_that_began_before_it() -> None:
    """However long the answer took: when it came, somebody else had the election."""
    slow = Look(0.5, 2.0, Holder(9, "b"))
    run = Run(_history(Belief("a", 5, 1.0, 3.0)), [slow])

    assert ["outlived" in one for one in judge(run)] == [True]
    run.looks = [Look(0.5, 3.5, Holder(9, "b"))]
    assert judge(run) == []


def test_witness_that_saw_nothing() -> None:
    """A witness who is blind does not let anything pass."""
    run = Run(_history(Belief("a", 5, 1.0, 3.0)))

    assert ["never seen" in one for one in judge(run)] == [True]


# -- liveness -------------------------------------------------------------------------------


def test_nobody_leads_after_a_fault() -> None:
    """Neither in time nor ever."""
    run = Run(SOUND, SEEN, [_fault(2.0, 3.1)], recovery=0.5, ended=9.0)

    assert ["only after 0.9 s, not within 0.5 s" in one for one in judge(run)] == [True]
    run.faults = [_fault(2.0, 6.1)]
    assert ["somebody led never" in one for one in judge(run)] == [True]


def test_one_who_leads_on_has_recovered_at_once() -> None:
    """A fault that costs no term takes no time."""
    run = Run(SOUND, SEEN, [_fault(1.5, 2.0)], recovery=0.5, ended=9.0)

    assert [one.seconds for one in recoveries(run)] == [0.0]
    assert judge(run) == []


@pytest.mark.parametrize(
    "fault",
    [_fault(2.0, 6.1, heals=False), _fault(2.0, None)],
    ids=["need not heal", "goes on"],
)
def test_fault_that_nobody_has_to_recover_from(fault: Fault) -> None:
    run = Run(SOUND, SEEN, [fault], recovery=0.5, ended=9.0)

    assert judge(run) == []


def test_next_fault_begins_the_time_anew() -> None:
    """Who is disturbed again owes nothing for the first fault, and all for the second."""
    run = Run(SOUND, SEEN, [_fault(6.0, 6.1), _fault(6.3, 6.6)], recovery=0.5, ended=9.0)

    assert [one.owed for one in recoveries(run)] == [False, True]
    assert len(judge(run)) == 1


def test_end_of_the_run_ends_the_time() -> None:
    """Nobody has to lead when all were told to stop."""
    run = Run(SOUND, SEEN, [_fault(6.0, 6.1)], recovery=0.5, ended=6.2)

    assert judge(run) == []
