"""How a candidate is started, and what tells that nothing has started it."""

from __future__ import annotations

import logging

import pytest

from leadership_core import Candidate, ConfigurationError, Follower, StoreClosed, StoreHandle
from tests.core.faulty import eventually


def test_start_campaigns_without_waiting(store: StoreHandle) -> None:
    candidate = Candidate(store, "key", "a", ttl=3)

    candidate.start()
    candidate.start()

    assert eventually(lambda: candidate.is_leader, 3)


def test_candidate_as_a_context_manager_starts_and_stops(store: StoreHandle) -> None:
    with Candidate(store, "key", "a", ttl=3) as candidate:
        assert eventually(lambda: candidate.is_leader, 3)

    assert not candidate.is_leader
    assert store.leader("key") is None


def test_context_manager_stops_after_an_error(store: StoreHandle) -> None:
    candidate = Candidate(store, "key", "a", ttl=3)

    def block() -> None:
        with candidate:
            assert candidate.wait_elected(3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()

    assert store.leader("key") is None


def test_start_after_stop_is_refused(store: StoreHandle) -> None:
    """Or it would never lead, and nothing would say so."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.stop()

    with pytest.raises(ConfigurationError, match="new Candidate"):
        candidate.start()


def test_start_on_a_closed_store_is_refused(store: StoreHandle) -> None:
    candidate = Candidate(store, "key", "a", ttl=3)
    store.close()

    with pytest.raises(StoreClosed):
        candidate.start()


@pytest.mark.parametrize("attribute", ["is_leader", "term"])
def test_reading_before_a_start_warns_once(
    store: StoreHandle, caplog: pytest.LogCaptureFixture, attribute: str
) -> None:
    candidate = Candidate(store, "key", "node-1", ttl=3)

    for _ in range(3):
        assert not getattr(candidate, attribute)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "'node-1'" in record.getMessage()
    assert "start()" in record.getMessage()
    assert store.url in record.getMessage()


def test_reading_after_a_start_or_a_stop_warns_of_nothing(
    store: StoreHandle, caplog: pytest.LogCaptureFixture
) -> None:
    candidate, stopped = (Candidate(store, "key", name, ttl=3) for name in "ab")
    candidate.start()
    stopped.stop()

    assert not (candidate.is_leader and stopped.is_leader)
    assert not stopped.term

    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", ["key", "value", "ttl", "is_leader", "term"])
def test_what_a_candidate_is_made_with_cannot_be_changed(store: StoreHandle, name: str) -> None:
    candidate = Candidate(store, "key", "a", ttl=3)

    with pytest.raises(AttributeError):
        setattr(candidate, name, "b")


def test_what_a_follower_and_a_term_are_cannot_be_changed(store: StoreHandle) -> None:
    term = Candidate(store, "key", "a", ttl=3).wait_elected(3)

    for thing, name in ((Follower(store, "key"), "key"), (term, "key"), (term, "token")):
        with pytest.raises(AttributeError):
            setattr(thing, name, "b")
