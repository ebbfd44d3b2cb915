"""The start of a candidate, and the warning about one that was never started."""

from __future__ import annotations

import logging

import pytest

from leadership_core import Candidate, ConfigurationError, Follower, Store, StoreClosed
from tests.support.waiting import eventually


def test_start_campaigns_without_waiting(store: Store) -> None:
    """It returns at once, and the candidate is elected later."""
    candidate = Candidate(store, "key", "a", ttl=3)

    candidate.start()
    candidate.start()

    assert eventually(lambda: candidate.is_leader, 3)


def test_candidate_as_a_context_manager_starts_and_stops(store: Store) -> None:
    """After the block there is no leader."""
    with Candidate(store, "key", "a", ttl=3) as candidate:
        assert eventually(lambda: candidate.is_leader, 3)

    assert not candidate.is_leader
    assert store.leader("key") is None


def test_context_manager_stops_after_an_error(store: Store) -> None:
    """The error of the block is raised, and there is no leader."""
    candidate = Candidate(store, "key", "a", ttl=3)

    def block() -> None:
        with candidate:
            assert candidate.wait_elected(3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()

    assert store.leader("key") is None


def test_start_after_stop_is_refused(store: Store) -> None:
    """The error advises to make a new candidate."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.stop()

    with pytest.raises(ConfigurationError, match="new Candidate"):
        candidate.start()


def test_start_on_a_closed_store_is_refused(store: Store) -> None:
    """It raises StoreClosed."""
    candidate = Candidate(store, "key", "a", ttl=3)
    store.close()

    with pytest.raises(StoreClosed):
        candidate.start()


@pytest.mark.parametrize("attribute", ["is_leader", "term"])
def test_reading_before_a_start_warns_once(
    store: Store, caplog: pytest.LogCaptureFixture, attribute: str
) -> None:
    """The warning says which calls start a candidate."""
    candidate = Candidate(store, "key", "node-1", ttl=3)

    for _ in range(3):
        assert not getattr(candidate, attribute)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "'node-1'" in record.getMessage()
    assert "start()" in record.getMessage()
    assert store.url in record.getMessage()


def test_reading_after_a_start_or_a_stop_warns_of_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The candidate is not leader, and that is no mistake of the program."""
    candidate, stopped = (Candidate(store, "key", name, ttl=3) for name in "ab")
    candidate.start()
    stopped.stop()

    assert not (candidate.is_leader and stopped.is_leader)
    assert not stopped.term

    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", ["key", "value", "ttl", "is_leader", "term"])
def test_attributes_of_a_candidate_are_read_only(store: Store, name: str) -> None:
    """Setting one raises AttributeError."""
    candidate = Candidate(store, "key", "a", ttl=3)

    with pytest.raises(AttributeError):
        setattr(candidate, name, "b")


def test_attributes_of_a_follower_and_a_term_are_read_only(store: Store) -> None:
    """Setting one raises AttributeError."""
    term = Candidate(store, "key", "a", ttl=3).wait_elected(3)

    for thing, name in ((Follower(store, "key"), "key"), (term, "key"), (term, "token")):
        with pytest.raises(AttributeError):
            setattr(thing, name, "b")
