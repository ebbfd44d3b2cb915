"""What a program that iterates over a candidate sees."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from leadership_core import (
    Campaigning,
    Candidate,
    Elected,
    Event,
    Lost,
    Resigned,
    Stopped,
    StoreHandle,
)
from leadership_core.events import Resumed, StoreDown, StoreUp, Suspended
from leadership_core.stories import shortened
from tests.core.conftest import Open
from tests.core.faulty import FaultyStore, eventually


def names(events: Iterator[Event]) -> list[str]:
    """The events by name; to the end."""
    return [event.name for event in events]


def test_values_alternate_with_false_first_and_last(store: StoreHandle) -> None:
    """The example of the README: elected, resigned, elected, stopped."""
    candidate = Candidate(store, "key", "a", ttl=3)
    values = []
    for elected in candidate.run_for_election():
        values.append(elected)
        assert candidate.is_leader or not elected
        if elected and values.count(True) == 1:
            assert candidate.resign(0)
        elif elected:
            assert candidate.stop()

    assert values == [False, True, False, True, False]


def test_no_last_false_when_it_did_not_lead(open_one: Open) -> None:
    """The value before was False already."""
    leader = Candidate(open_one(), "key", "a", ttl=3)
    assert leader.wait_elected(3)
    waiting = Candidate(open_one(), "key", "b", ttl=3)
    values = waiting.run_for_election()
    assert next(values) is False
    threading.Timer(0.1, waiting.stop).start()

    assert list(values) == []


def test_last_false_comes_even_if_stop_does_not_wait(store: StoreHandle) -> None:
    """The reader is told before the engine has got to it."""
    for number in range(20):
        candidate = Candidate(store, f"key{number}", "a", ttl=3)
        values = []
        for elected in candidate.run_for_election():
            values.append(elected)
            if elected:
                candidate.stop(0)

        assert values == [False, True, False]


def test_campaign_starts_at_the_call(store: StoreHandle) -> None:
    """Not with the first value that is read."""
    candidate = Candidate(store, "key", "a", ttl=3)
    values = candidate.run_for_election()
    assert eventually(lambda: candidate.is_leader)

    assert next(values) is False
    assert next(values) is True


def test_iterator_that_is_begun_while_leading_says_so(store: StoreHandle) -> None:
    """Every iterator begins with the present."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.wait_elected(3)

    assert next(candidate.run_for_election()) is True


def test_true_that_is_over_is_not_told(store: StoreHandle) -> None:
    """It was true when the iterator was made, and is not when it is read."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.wait_elected(3)
    values = candidate.run_for_election()
    candidate.resign(30)

    assert next(values) is False


def test_iterators_are_independent(store: StoreHandle) -> None:
    """One of them is left early, one is read in another thread."""
    candidate = Candidate(store, "key", "a", ttl=3)
    mine, others = candidate.run_for_election(), candidate.run_for_election()
    heard: list[bool] = []
    reader = threading.Thread(target=lambda: heard.extend(others))
    reader.start()
    for elected in mine:
        if elected:
            break
    assert candidate.is_leader
    assert eventually(lambda: True in heard)

    candidate.stop()
    reader.join(3)
    assert heard == [False, True, False]


def test_sleeping_reader_skips_whole_terms(store: StoreHandle) -> None:
    """And costs nothing: an iterator has no queue."""
    candidate = Candidate(store, "key", "a", ttl=3)
    values = candidate.run_for_election()
    for _ in range(20):
        assert candidate.wait_elected(3)
        candidate.resign(0)
    candidate.stop()

    assert list(values) == [False]


def test_iterator_after_the_end(store: StoreHandle) -> None:
    """It has its False, and nothing else."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.stop()

    assert list(candidate.run_for_election()) == [False]
    assert names(candidate.events()) == ["stopped"]
    assert candidate.wait_elected(1) is None


# -- events -------------------------------------------------------------------------------------


def test_story_of_a_candidate(store: StoreHandle) -> None:
    """In order, with the term, and `Stopped` last."""
    candidate = Candidate(store, "key", "a", ttl=3)
    story = candidate.events()
    term = candidate.wait_elected(3)
    assert term is not None
    candidate.resign(0)
    candidate.wait_elected(3)
    candidate.stop()

    events = list(story)
    assert events[1] == Elected(term)
    assert [event.name for event in events] == [
        "campaigning", "elected", "resigned", "campaigning", "elected", "resigned", "stopped",
    ]  # fmt: skip
    with pytest.raises(StopIteration):
        next(story)


def test_story_that_begins_in_the_middle(store: StoreHandle) -> None:
    """It says where things stand, so that every end in it has its beginning."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.wait_elected(3)
    story = candidate.events()
    candidate.resign(30)
    late = candidate.events()
    candidate.stop()

    assert names(story) == ["campaigning", "elected", "resigned", "stopped"]
    assert names(late) == ["stopped"]


def test_story_that_begins_at_any_moment_tells_nothing_twice(store: StoreHandle) -> None:
    """Also between the beginning of a term and its announcement, where the log is written."""
    candidate = Candidate(store, "key", "a", ttl=3)
    stories: list[Iterator[Event]] = []

    class Intruder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            beginner = threading.Thread(target=lambda: stories.append(candidate.events()))
            beginner.start()
            beginner.join()

    logger, intruder = logging.getLogger("leadership.candidate"), Intruder()
    level = logger.level
    logger.addHandler(intruder)
    logger.setLevel(logging.INFO)
    try:
        for _ in range(3):
            candidate.wait_elected(3)
            candidate.resign(0)
        candidate.stop()
    finally:
        logger.removeHandler(intruder)
        logger.setLevel(level)

    assert len(stories) > 6
    for story in stories:
        leading = False
        for event in story:
            if isinstance(event, Elected):
                assert not leading
                leading = True
            elif isinstance(event, Lost | Resigned):
                assert leading
                leading = False


def test_unread_story_stays_small_and_whole(store: StoreHandle) -> None:
    """Whole terms and outages are left out, never one half of them."""
    candidate = Candidate(store, "key", "a", ttl=3)
    story = candidate.events()
    term = candidate.wait_elected(3)
    assert term is not None
    assert [next(story).name for _ in range(2)] == ["campaigning", "elected"]
    down = StoreDown(error=OSError("away"))  # type: ignore[arg-type]
    tell = candidate._tenure.tell
    for _ in range(800):
        for trouble in (down, Suspended(1.0), StoreUp(), Resumed()):
            tell(trouble)
    candidate.resign(30)
    for _ in range(800):
        for event in (Campaigning(), Elected(term), Resigned()):
            tell(event)
    candidate.stop()

    told = names(story)
    assert len(told) <= 1001
    assert told.count("elected") + 1 == told.count("resigned")
    assert told.count("store_down") == told.count("store_up")
    assert told.count("suspended") == told.count("resumed")
    assert told[-1] == "stopped"


def test_what_is_over_is_left_out_with_its_beginning() -> None:
    """But an end whose beginning has been read already stays."""
    down, up = StoreDown(error=OSError("away")), StoreUp()  # type: ignore[arg-type]
    elected = Elected(term=None)  # type: ignore[arg-type]

    assert shortened([Campaigning(), elected, down, Suspended(1), Resigned()]) == [down]
    assert shortened([Campaigning(), elected, down, Suspended(1), up]) == [
        Campaigning(), elected, Suspended(1),
    ]  # fmt: skip
    assert shortened([Suspended(1), Resigned(), Campaigning()]) == [
        Suspended(1), Resigned(), Campaigning(),
    ]  # fmt: skip
    assert shortened([Campaigning(), Campaigning(), Stopped()]) == [Campaigning(), Stopped()]


def test_slow_reader_delays_nobody(faulty: FaultyStore, opened: StoreHandle) -> None:
    """Renewals and other readers go on while one sleeps in its loop."""
    candidate = Candidate(opened, "key", "a", ttl=0.6)
    for elected in candidate.run_for_election():
        if elected:
            break
    term = candidate.term
    renewals = faulty.calls["renew"]
    time.sleep(1.0)

    assert candidate.term is term
    assert faulty.calls["renew"] - renewals >= 3
