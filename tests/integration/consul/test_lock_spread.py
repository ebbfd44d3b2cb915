"""The random delay before a request to lock a key for which many candidates wait."""

from __future__ import annotations

import threading

import pytest

from leadership_consul.client import KeyValue
from leadership_consul.key_state import KeyState

_KEY = "key"
_DRAWS = 2000


@pytest.fixture
def state() -> KeyState:
    return KeyState(None, _KEY, threading.Event())  # type: ignore[arg-type]  # makes no request


def _unlocked(index: int) -> KeyValue:
    return KeyValue(_KEY, b"", 0, None, 1, index, 0)


def _longest(state: KeyState) -> float:
    """The longest of many delays, in milliseconds."""
    return 1000 * max(state.lock_jitter() for _ in range(_DRAWS))


def test_request_is_not_delayed_without_a_lost_one(state: KeyState) -> None:
    assert _longest(state) == 0.0


def test_delay_doubles_with_each_lost_request_up_to_its_limit(state: KeyState) -> None:
    found = []
    for index in range(1, 7):
        state.note_outdated(_unlocked(index))
        found.append(_longest(state))

    assert found == pytest.approx([16, 32, 64, 64, 64, 64], rel=0.1)


def test_delay_is_spread_evenly(state: KeyState) -> None:
    """If sixty candidates wait, the first of them waits for a millisecond only."""
    for index in range(1, 4):
        state.note_outdated(_unlocked(index))

    firsts = [min(state.lock_jitter() for _ in range(60)) for _ in range(200)]

    assert sum(firsts) / len(firsts) < 0.002


def test_delay_ends_with_requests_that_are_in_time(state: KeyState) -> None:
    for index in range(1, 4):
        state.note_outdated(_unlocked(index))

    state.note_locked()
    assert _longest(state) == pytest.approx(16, rel=0.1)
    state.note_locked()
    assert _longest(state) == 0.0
