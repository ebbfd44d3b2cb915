"""Iterators over a candidate: its leadership and its events."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from leadership_core import Campaigning, Candidate, Elected, Event, Lost, Resigned, Stopped, Store
from leadership_core.engine.broadcast import compact_events
from leadership_core.events import Resumed, StoreDown, StoreUp, Suspended
from tests.support.internals import candidate_control
from tests.support.waiting import eventually
from tests.unit.conftest import Open
from tests.unit.faulty import FaultyStore


def names(events: Iterator[Event]) -> list[str]:
    """Return the names of the events, up to the end of the iterator."""
    return [event.name for event in events]


def test_values_alternate_with_false_first_and_last(store: Store) -> None:
    """This is the example of the README: elected, resigned, elected, stopped."""
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
    """The previous value is False already."""
    leader = Candidate(open_one(), "key", "a", ttl=3)
    assert leader.wait_elected(3)
    waiting = Candidate(open_one(), "key", "b", ttl=3)
    values = waiting.run_for_election()
    assert next(values) is False
    threading.Timer(0.1, waiting.stop).start()

    assert list(values) == []


def test_last_false_comes_even_if_stop_does_not_wait(store: Store) -> None:
    """The reader gets it before the engine has handled the stop."""
    for number in range(20):
        candidate = Candidate(store, f"key{number}", "a", ttl=3)
        values = []
        for elected in candidate.run_for_election():
            values.append(elected)
            if elected:
                candidate.stop(0)

        assert values == [False, True, False]


def test_campaign_starts_at_the_call(store: Store) -> None:
    """It does not wait until the first value is read."""
    candidate = Candidate(store, "key", "a", ttl=3)
    values = candidate.run_for_election()
    assert eventually(lambda: candidate.is_leader)

    assert next(values) is False
    assert next(values) is True


def test_iterator_opened_while_leading_begins_with_true(store: Store) -> None:
    """Every iterator begins with the present state."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.wait_elected(3)

    assert next(candidate.run_for_election()) is True


def test_iterator_skips_a_true_that_has_expired(store: Store) -> None:
    """The candidate led when the iterator was made, and does not when it is read."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.wait_elected(3)
    values = candidate.run_for_election()
    candidate.resign(30)

    assert next(values) is False


def test_iterators_are_independent(store: Store) -> None:
    """One is left early, and one is read in another thread."""
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


def test_sleeping_reader_skips_whole_terms(store: Store) -> None:
    """An iterator over leadership has no queue."""
    candidate = Candidate(store, "key", "a", ttl=3)
    values = candidate.run_for_election()
    for _ in range(20):
        assert candidate.wait_elected(3)
        candidate.resign(0)
    candidate.stop()

    assert list(values) == [False]


def test_iterator_after_the_end(store: Store) -> None:
    """It yields False, and ends."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.stop()

    assert list(candidate.run_for_election()) == [False]
    assert names(candidate.events()) == ["stopped"]
    assert candidate.wait_elected(1) is None


# -- events -------------------------------------------------------------------------------------


def test_events_of_a_candidate(store: Store) -> None:
    """They are in order and name the term, and `Stopped` is the last."""
    candidate = Candidate(store, "key", "a", ttl=3)
    stream = candidate.events()
    term = candidate.wait_elected(3)
    assert term is not None
    candidate.resign(0)
    candidate.wait_elected(3)
    candidate.stop()

    events = list(stream)
    assert events[1] == Elected(term)
    assert [event.name for event in events] == [
        "campaigning", "elected", "resigned", "campaigning", "elected", "resigned", "stopped",
    ]  # fmt: skip
    with pytest.raises(StopIteration):
        next(stream)


def test_events_of_a_stream_opened_while_leading(store: Store) -> None:
    """It begins with the present state, so every end in it has its beginning."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.wait_elected(3)
    stream = candidate.events()
    candidate.resign(30)
    late = candidate.events()
    candidate.stop()

    assert names(stream) == ["campaigning", "elected", "resigned", "stopped"]
    assert names(late) == ["stopped"]


def test_event_stream_opened_at_any_moment_repeats_nothing(store: Store) -> None:
    """It may be opened between the beginning of a term and its event."""
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
    for stream in stories:
        leading = False
        for event in stream:
            if isinstance(event, Elected):
                assert not leading
                leading = True
            elif isinstance(event, Lost | Resigned):
                assert leading
                leading = False


def test_stream_that_two_threads_read_ends_in_both(store: Store) -> None:
    """The one that does not get `Stopped` has to be woken, too."""
    candidate = Candidate(store, "key", "a", ttl=3)
    stream = candidate.events()
    readers = [threading.Thread(target=lambda: list(stream), daemon=True) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert candidate.wait_elected(3)

    candidate.stop()

    assert eventually(lambda: not any(reader.is_alive() for reader in readers), 5)


def test_unread_stream_stays_small_and_keeps_whole_terms(store: Store) -> None:
    """Whole terms and outages are left out, never one half of them."""
    candidate = Candidate(store, "key", "a", ttl=3)
    stream = candidate.events()
    term = candidate.wait_elected(3)
    assert term is not None
    assert [next(stream).name for _ in range(2)] == ["campaigning", "elected"]
    down = StoreDown(error=OSError("away"))  # type: ignore[arg-type]
    publish = candidate_control(candidate).state.publish
    for _ in range(800):
        for trouble in (down, Suspended(1.0), StoreUp(), Resumed()):
            publish(trouble)
    candidate.resign(30)
    for _ in range(800):
        for event in (Campaigning(), Elected(term), Resigned()):
            publish(event)
    candidate.stop()

    reported = names(stream)
    assert len(reported) <= 1001
    assert reported.count("elected") + 1 == reported.count("resigned")
    assert reported.count("store_down") == reported.count("store_up")
    assert reported.count("suspended") == reported.count("resumed")
    assert reported[-1] == "stopped"


def test_compaction_drops_whole_terms_and_outages() -> None:
    """An end is kept if its beginning was read already."""
    down, up = StoreDown(error=OSError("away")), StoreUp()  # type: ignore[arg-type]
    elected = Elected(term=None)  # type: ignore[arg-type]

    assert compact_events([Campaigning(), elected, down, Suspended(1), Resigned()]) == [down]
    assert compact_events([Campaigning(), elected, down, Suspended(1), up]) == [
        Campaigning(), elected, Suspended(1),
    ]  # fmt: skip
    assert compact_events([Suspended(1), Resigned(), Campaigning()]) == [
        Suspended(1), Resigned(), Campaigning(),
    ]  # fmt: skip
    assert compact_events([Campaigning(), Campaigning(), Stopped()]) == [Campaigning(), Stopped()]


def test_slow_reader_delays_no_other(faulty: FaultyStore, opened: Store) -> None:
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
