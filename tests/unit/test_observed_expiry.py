"""What a process knows of sessions by observation: heartbeats, answers and times."""

from __future__ import annotations

import logging

import pytest

from leadership_core.backend import UNREADABLE_TTL, Heartbeat, HolderDeadline, ObservedExpiry
from leadership_core.backend.heartbeats import observed_within, observing_interval


def beat(number: int, ttl: float = 10.0) -> Heartbeat:
    """A heartbeat of the session "a"."""
    return Heartbeat("a", ttl, number)


def test_heartbeat_counts_from_the_answer_that_showed_it_first() -> None:
    """It may have been written after the request was sent."""
    expiry = ObservedExpiry()
    expiry.note(beat(1), sent=100.0, answered=104.0)

    assert not expiry.may_end("a", 110.0)
    assert not expiry.may_end("a", 113.9)
    assert expiry.may_end("a", 114.0)


def test_same_heartbeat_in_a_later_answer_does_not_count_again() -> None:
    """The time runs from the first answer."""
    expiry = ObservedExpiry()
    for at in (100.0, 104.0, 109.0):
        expiry.note(beat(1), sent=at, answered=at + 0.1)

    assert expiry.due("a") == pytest.approx(110.1)


def test_another_heartbeat_counts_from_its_own_answer() -> None:
    """A session that was renewed may not be ended."""
    expiry = ObservedExpiry()
    expiry.note(beat(1), sent=100.0, answered=100.1)
    expiry.note(beat(2), sent=109.0, answered=109.1)

    assert not expiry.may_end("a", 119.0)
    assert expiry.may_end("a", 119.1)


def test_older_answer_that_is_noted_late_prolongs() -> None:
    """Two threads may note their answers in another order; the session is never over too early."""
    expiry = ObservedExpiry()
    expiry.note(beat(2), sent=103.0, answered=103.1)
    expiry.note(beat(1), sent=100.0, answered=103.5)
    expiry.note(beat(2), sent=105.0, answered=105.1)

    assert expiry.due("a") == pytest.approx(115.1)


def test_session_is_silent_only_by_an_answer_that_was_requested_after_the_ttl() -> None:
    """An answer that arrives after the ttl may have been read at the server before."""
    expiry = ObservedExpiry()
    expiry.note(beat(1), sent=100.0, answered=100.5)
    expiry.note(beat(1), sent=110.4, answered=115.0)
    assert not expiry.is_silent("a")

    expiry.note(beat(1), sent=110.5, answered=110.6)
    assert expiry.is_silent("a")


def test_unknown_session_may_not_be_ended() -> None:
    """Nothing is known before the first answer, nor after it was forgotten."""
    expiry = ObservedExpiry()
    assert not expiry.may_end("a", 1e12)
    assert not expiry.is_silent("a")
    assert expiry.heartbeat("a") is None

    expiry.note(beat(1), sent=1.0, answered=1.0)
    expiry.forget("a")
    assert not expiry.may_end("a", 1e12)


@pytest.mark.parametrize("ttl", [1e9, -1.0, 0.0, float("nan"), float("inf"), 1e-9])
def test_absurd_ttl_blocks_for_a_minute_and_is_reported_once(
    ttl: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing blocks an election without end, and without a word."""
    expiry = ObservedExpiry()
    with caplog.at_level(logging.WARNING, "leadership.session"):
        for number in range(5):
            at = 100.0 + number
            expiry.note(Heartbeat("a", ttl, number // 2), sent=at, answered=at)

    assert len(caplog.records) == 1
    assert "a ttl of" in caplog.text
    assert expiry.due("a") == 104.0 + UNREADABLE_TTL


def test_next_look_is_regular_and_at_the_end_of_the_ttl() -> None:
    """Each second, or each fifth of a short ttl; and when the ttl has passed."""
    expiry = ObservedExpiry()
    expiry.note(beat(1, ttl=2.5), sent=100.0, answered=100.0)
    assert expiry.next_look("a") == 100.5
    expiry.note(beat(1, ttl=2.5), sent=102.2, answered=102.2)
    assert expiry.next_look("a") == 102.5
    expiry.note(beat(1, ttl=2.5), sent=102.5, answered=102.6)
    assert expiry.next_look("a") == pytest.approx(103.1)


def test_sessions_that_are_known_are_bounded() -> None:
    """A process that asks for the leaders of very many elections keeps a part."""
    expiry = ObservedExpiry()
    for number in range(12_000):
        expiry.note(Heartbeat(str(number), 10.0, 1), sent=1.0, answered=1.0)

    assert expiry.heartbeat("0") is None
    assert expiry.heartbeat("11999") is not None


def test_observed_within_includes_two_reading_intervals() -> None:
    """One until the last heartbeat is seen, one after its ttl."""
    assert observing_interval(30.0) == 1.0
    assert observing_interval(1.0) == 0.2
    assert observed_within(1.0) >= 1.4


def test_holder_counts_from_sending_its_last_acknowledged_renewal() -> None:
    """An older acknowledgement that is noted late takes nothing back."""
    now = 100.0
    deadline = HolderDeadline(10.0, lambda: now, sent=100.0)
    now = 110.1
    assert deadline.passed
    deadline.acknowledge(105.0)
    deadline.acknowledge(101.0)
    assert not deadline.passed
    now = 115.1
    assert deadline.passed
