"""The oracle of all scenarios on histories made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadership_core.testing import History, LeadershipInterval, Observation
from tests.support.fault_log import Fault
from tests.support.oracle import Run, assert_sound, recoveries, violations
from tests.support.recording import Interval, RecordedEvent, Recorder, Recording
from tests.support.store_observer import Holder, Reading


def _history(*intervals: LeadershipInterval) -> History:
    """A history of these terms, each with its events."""
    history = History()
    for interval in intervals:
        history.intervals.append(interval)
        history.observations += [
            Observation(interval.who, "campaigning", None, interval.since),
            Observation(interval.who, "elected", interval.token, interval.since),
            Observation(interval.who, "lost", None, interval.until),
        ]
    return history


def _readings(*seen: tuple[float, int | None]) -> list[Reading]:
    """Readings at those times, each within a hundredth of a second."""
    return [
        Reading(at, at + 0.01, None if token is None else Holder(token, f"t{token}"))
        for at, token in seen
    ]


def _fault(since: float, until: float | None, *, heals: bool = True) -> Fault:
    end = None if until is None else int(until * 1e9)
    return Fault("a cut", int(since * 1e9), end, heals=heals)


SOUND = _history(LeadershipInterval("a", 5, 1.0, 3.0), LeadershipInterval("b", 7, 4.0, 6.0))
SEEN = _readings((0.5, None), (0.9, 5), (2.0, 5), (3.2, 5), (3.9, 7), (5.0, 7), (6.5, None))


def test_sound_run_passes() -> None:
    """Two terms, confirmed by the store, with a leader after the fault."""
    run = Run(SOUND, SEEN, [_fault(2.0, 3.5)], recovery=2.0, ended=7.0)

    assert violations(run) == []


def test_two_leaders_are_found() -> None:
    """The candidates' own recordings show it."""
    run = Run(
        _history(LeadershipInterval("a", 5, 1.0, 3.0), LeadershipInterval("b", 7, 2.9, 6.0)),
        _readings((0.0, None)),
    )

    assert any("two leaders" in one for one in violations(run))


@pytest.mark.parametrize("gap", [0.0, 0.3])
def test_gap_allows_deletion_by_operator(gap: float) -> None:
    """Leadership may outlast a deleted claim by the gap, and without a gap not at all."""
    run = Run(
        _history(LeadershipInterval("a", 5, 1.0, 3.0)), _readings((1.5, 5), (2.8, None)), gap=gap
    )

    assert bool(violations(run)) == (gap == 0.0)


# -- the store's own tokens -----------------------------------------------------------------


@pytest.mark.parametrize(
    "seen",
    [
        [(1.0, 5), (2.0, 4)],
        [(1.0, 5), (2.0, None), (3.0, 4)],
        [(1.0, 5), (2.0, None), (3.0, 5)],
    ],
)
def test_tokens_of_store_that_do_not_grow_are_found(seen: list[tuple[float, int | None]]) -> None:
    """Each holder's token is larger, and a former holder does not return."""
    run = Run(History(), _readings(*seen))

    assert ["the store's tokens do not grow" in one for one in violations(run)] == [True]
    run.forgets = True
    assert violations(run) == []


def test_store_that_lost_its_data_may_repeat_tokens() -> None:
    """Only if the scenario declares it."""
    again = _history(LeadershipInterval("a", 5, 1.0, 3.0), LeadershipInterval("b", 5, 4.0, 6.0))
    run = Run(again, _readings((2.0, 5), (3.5, None), (5.0, 5)), forgets=True)

    assert violations(run) == []
    run.forgets = False
    assert {one.split(":")[0] for one in violations(run)} == {
        "tokens do not grow",
        "token 5 was granted twice",
        "the store's tokens do not grow",
    }


# -- beliefs by the store's word --------------------------------------------------------------


@pytest.mark.parametrize("token", [None, 4, 6])
def test_leader_that_store_does_not_confirm_is_found(token: int | None) -> None:
    """The store was read during a term, and reported another holder or none."""
    run = Run(_history(LeadershipInterval("a", 5, 1.0, 3.0)), _readings((0.9, token), (2.0, token)))

    assert ["a leader that the store did not confirm" in one for one in violations(run)] == [True]


def test_term_between_two_readings_is_allowed() -> None:
    """A term so short that no reading shows it is allowed."""
    run = Run(
        _history(LeadershipInterval("a", 5, 1.0, 1.02)), _readings((0.995, None), (1.015, None))
    )

    assert violations(run) == []


def test_term_during_outage_of_observer_is_allowed() -> None:
    """Nothing is known while the servers are down; later readings count again."""
    during = Run(_history(LeadershipInterval("a", 5, 1.0, 3.0)), _readings((0.9, None), (3.1, 6)))

    assert violations(during) == []
    during.history.intervals[0].until = 3.2
    assert len(violations(during)) == 1


def test_term_that_outlasts_later_claim_is_found() -> None:
    """However long the reading took: at its end another candidate was holder."""
    slow = Reading(0.5, 2.0, Holder(9, "b"))
    run = Run(_history(LeadershipInterval("a", 5, 1.0, 3.0)), [slow])

    assert ["outlasted" in one for one in violations(run)] == [True]
    run.readings = [Reading(0.5, 3.5, Holder(9, "b"))]
    assert violations(run) == []


def test_observer_without_readings_is_found() -> None:
    """Without readings the oracle could not find anything."""
    run = Run(_history(LeadershipInterval("a", 5, 1.0, 3.0)))

    assert ["never read" in one for one in violations(run)] == [True]


# -- liveness -------------------------------------------------------------------------------


def test_missing_recovery_after_fault_is_found() -> None:
    """There is a leader too late, or never."""
    run = Run(SOUND, SEEN, [_fault(2.0, 3.1)], recovery=0.5, ended=9.0)

    assert ["only after 0.9 s, not within 0.5 s" in one for one in violations(run)] == [True]
    run.faults = [_fault(2.0, 6.1)]
    assert ["there was a leader never" in one for one in violations(run)] == [True]


def test_continuing_leader_counts_as_recovery() -> None:
    """A fault that ends no term has a recovery of 0 s."""
    run = Run(SOUND, SEEN, [_fault(1.5, 2.0)], recovery=0.5, ended=9.0)

    assert [one.seconds for one in recoveries(run)] == [0.0]
    assert violations(run) == []


@pytest.mark.parametrize(
    "fault",
    [_fault(2.0, 6.1, heals=False), _fault(2.0, None)],
    ids=["need not heal", "goes on"],
)
def test_fault_without_heal_needs_no_recovery(fault: Fault) -> None:
    """No leader is required after it."""
    run = Run(SOUND, SEEN, [fault], recovery=0.5, ended=9.0)

    assert violations(run) == []


def test_next_fault_restarts_time_for_recovery() -> None:
    """No leader is required between two faults, but after the second one."""
    run = Run(SOUND, SEEN, [_fault(6.0, 6.1), _fault(6.3, 6.6)], recovery=0.5, ended=9.0)

    assert [one.owed for one in recoveries(run)] == [False, True]
    assert len(violations(run)) == 1


def test_end_of_run_ends_time_for_recovery() -> None:
    """No leader is required after all candidates were asked to stop."""
    run = Run(SOUND, SEEN, [_fault(6.0, 6.1)], recovery=0.5, ended=6.2)

    assert violations(run) == []


SECOND = 1_000_000_000


def recording(
    who: str, token: int, since: float, until: float, *, last: str = "stopped"
) -> Recording:
    """A recording of one term, from its first to its last event."""
    names = ["campaigning", "elected", "resigned", last]
    events = [RecordedEvent(1, name, token if name == "elected" else None) for name in names]
    interval = Interval(who, token, int(since * SECOND), int(until * SECOND), open=False)
    return Recording(Path("/nowhere") / who, who, events=events, intervals=[interval])


def test_sound_recordings_pass() -> None:
    """Also those of two programs with the same value."""
    one, other = recording("same", 7, 1.0, 2.0), recording("same", 8, 3.0, 4.0)
    assert_sound([other, one], ended=[one, other])


def test_recordings_of_two_leaders_are_found() -> None:
    """They overlap by a millisecond, long after the machine has started."""
    month = 2_600_000.0
    with pytest.raises(AssertionError, match=r"two leaders for 1\.0 ms"):
        assert_sound(
            [recording("a", 7, month, month + 2.001), recording("b", 8, month + 2.0, month + 3.0)]
        )


def test_gap_between_recordings_is_limited() -> None:
    """An operator's deletion excuses an overlap for that time only."""
    recordings = [recording("a", 7, 1.0, 3.0), recording("b", 8, 2.0, 4.0)]
    assert_sound(recordings, gap=1.1)
    with pytest.raises(AssertionError, match="two leaders"):
        assert_sound(recordings, gap=0.9)


def test_token_that_does_not_grow_is_found_in_recordings() -> None:
    """It is repeated by another process."""
    with pytest.raises(AssertionError, match="tokens do not grow"):
        assert_sound([recording("a", 7, 1.0, 2.0), recording("b", 6, 3.0, 4.0)])


def test_missing_last_event_is_found_only_after_orderly_end() -> None:
    """A killed process may leave any event unrecorded."""
    killed = recording("a", 7, 1.0, 2.0, last="campaigning")
    assert_sound([killed])
    with pytest.raises(AssertionError, match="stopped does not come last"):
        assert_sound([killed], ended=[killed])


def test_recording_survives_its_process(tmp_path: Path) -> None:
    """The last interval is known although its end was not written."""
    recorder = Recorder(tmp_path / "one.recording")
    recorder.note(event="campaigning")
    recorder.note(event="elected", token=5)
    recorder.note(interval_began=5, at=100, until=90)
    recorder.beat(5, 130)
    written = Recording(tmp_path / "one.recording", "a").read()
    assert [(b.token, b.since, b.until, b.open) for b in written.intervals] == [(5, 100, 130, True)]
    assert_sound([written])
    recorder.note(interval_ended=5, at=140, seen=150)
    assert written.read().intervals[-1].until == 140
    assert written.interval is None
