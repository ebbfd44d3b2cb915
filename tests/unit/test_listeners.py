"""Callbacks of candidates and followers: order, threads, errors, and their end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from leadership_core import (
    Campaigning,
    Candidate,
    CandidateEvent,
    ConfigurationError,
    Elected,
    Follower,
    Leader,
    LeaderChanged,
    Lost,
    LostReason,
    Resigned,
    Stopped,
    Store,
    Term,
)
from leadership_core.engine.broadcast import _MOST_QUEUED
from tests.support.internals import candidate_control, lease_of
from tests.support.waiting import eventually
from tests.unit.conftest import Open

THREAD = "leadership-callbacks"


def callback_threads() -> list[threading.Thread]:
    """The threads of callbacks that are alive."""
    return [one for one in threading.enumerate() if one.name == THREAD]


def test_callbacks_get_each_term_and_its_end_in_order(store: Store) -> None:
    """`on_elected` gets the term, and `on_lost` what has ended it."""
    calls: list[Term | Lost | Resigned] = []
    candidate = Candidate(store, "key", "a", ttl=3, on_elected=calls.append, on_lost=calls.append)
    with candidate:
        first = candidate.wait_elected(5)
        assert first is not None
        candidate.resign(0)
        second = candidate.wait_elected(5)
        assert second is not None
        lease_of(second).end(LostReason.SESSION_LOST)
        assert eventually(lambda: len(calls) >= 4)

    assert calls[:4] == [first, Resigned(), second, Lost(LostReason.SESSION_LOST)]


def test_listener_gets_the_present_state_and_every_event(store: Store) -> None:
    """It begins as an iterator over the events would, and ends with `Stopped`."""
    candidate = Candidate(store, "key", "a", ttl=3)
    term = candidate.wait_elected(5)
    assert term is not None
    events: list[CandidateEvent] = []
    candidate.add_listener(events.append)
    candidate.stop()

    assert eventually(lambda: events and events[-1] == Stopped())
    assert [one.name for one in events] == ["campaigning", "elected", "resigned", "stopped"]
    assert events[1] == Elected(term)


def test_callbacks_run_one_at_a_time_in_one_thread(store: Store) -> None:
    """All callbacks of a candidate share one daemon thread, which ends after `Stopped`."""
    running: list[int] = []
    most: list[int] = []
    threads: set[threading.Thread] = set()

    def note(_: object) -> None:
        running.append(1)
        most.append(len(running))
        threads.add(threading.current_thread())
        time.sleep(0.002)
        running.pop()

    candidate = Candidate(store, "key", "a", ttl=3, on_elected=note, on_lost=note)
    for _ in range(3):
        candidate.add_listener(note)
    candidate.wait_elected(5)
    candidate.stop()

    assert eventually(lambda: len(most) == 2 + 3 * 4)
    assert set(most) == {1}
    (thread,) = threads
    assert thread.daemon
    assert thread.name == THREAD
    assert eventually(lambda: not thread.is_alive())


def test_candidate_without_callbacks_has_no_thread(store: Store) -> None:
    """Nor has one whose callbacks have had no event yet."""
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.wait_elected(5)
    waiting = Candidate(store, "other", "a", ttl=3, on_elected=lambda term: None)

    assert callback_threads() == []
    waiting.stop()


def test_slow_callback_delays_no_other_candidate_and_no_renewal(open_one: Open) -> None:
    """While it blocks, the term is renewed, ended and released as without it."""
    release = threading.Event()
    try:
        candidate = Candidate(
            open_one(), "key", "a", ttl=1.5, on_elected=lambda _: release.wait(60)
        )
        term = candidate.wait_elected(5)
        assert term is not None
        deadline = lease_of(term).deadline
        assert eventually(lambda: lease_of(term).deadline > deadline)
        assert candidate.resign(5)
        other = Candidate(open_one(), "key", "b", ttl=3)
        assert other.wait_elected(5)
        assert candidate.stop()
    finally:
        release.set()


def test_callback_that_raises_is_logged_and_changes_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The record has the fields of the event log, and the next event is delivered."""
    later: list[str] = []

    def broken(event: CandidateEvent) -> None:
        later.append(event.name)
        raise SystemExit("mine") if event.name == "elected" else KeyError("mine")

    candidate = Candidate(store, "key", "a", ttl=3, on_elected=lambda term: 1 // 0)
    candidate.add_listener(broken)
    term = candidate.wait_elected(5)
    assert term is not None
    assert candidate.is_leader
    candidate.stop()

    assert eventually(lambda: "stopped" in later)
    assert later == ["campaigning", "elected", "resigned", "stopped"]
    failed = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert eventually(lambda: len([one for one in caplog.records if one.levelno >= 40]) == 5)
    (record,) = [one for one in failed if "on_elected" in one.getMessage()]
    fields = {name: value for name, value in vars(record).items() if name.startswith("leadership")}
    assert fields == {
        "leadership_event": "callback_failed",
        "leadership_key": "key",
        "leadership_value": "a",
        "leadership_token": term.token,
        "leadership_store": store.url,
    }
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def _coroutine(_: object) -> None:
    """A coroutine function: a plain call of it runs nothing."""


@pytest.mark.parametrize(
    "make",
    [
        lambda store, wrong: Candidate(store, "key", "a", on_elected=wrong),
        lambda store, wrong: Candidate(store, "key", "a", on_lost=wrong),
        lambda store, wrong: Candidate(store, "key", "a").add_listener(wrong),
        lambda store, wrong: Follower(store, "key", on_leader=wrong),
        lambda store, wrong: Follower(store, "key").add_listener(wrong),
    ],
)
@pytest.mark.parametrize("wrong", [_coroutine, "no function", lambda: None])
def test_callback_that_cannot_be_called_is_refused(
    store: Store, make: Callable[[Store, Any], object], wrong: Any
) -> None:
    """The constructor, or the call, raises."""
    with pytest.raises(ConfigurationError, match=r"on_elected|on_lost|callback|on_leader"):
        make(store, wrong)


def test_closed_listener_is_not_called_again(store: Store) -> None:
    """The other listeners are."""
    heard: list[str] = []
    others: list[str] = []
    candidate = Candidate(store, "key", "a", ttl=3)

    def once(event: CandidateEvent) -> None:
        heard.append(event.name)
        listener.close()

    listener = candidate.add_listener(once)
    candidate.add_listener(lambda event: others.append(event.name))
    candidate.wait_elected(5)
    candidate.stop()

    assert eventually(lambda: "stopped" in others)
    assert heard == ["campaigning"]


def test_listener_that_is_added_after_the_end_gets_the_end(store: Store) -> None:
    """The thread has ended by then, and is started again for that."""
    events: list[CandidateEvent] = []
    candidate = Candidate(store, "key", "a", ttl=3, on_elected=lambda _: None)
    candidate.wait_elected(5)
    candidate.stop()
    assert eventually(lambda: not callback_threads())
    for number in (1, 2, 3):
        candidate.add_listener(events.append)
        assert eventually(partial(lambda count: len(events) == count, number))
    store.close()
    candidate.add_listener(events.append)

    assert eventually(lambda: len(events) == 4)
    assert set(map(type, events)) == {Stopped}
    assert eventually(lambda: not callback_threads())


def test_callbacks_may_call_every_method(open_one: Open) -> None:
    """`resign`, `wait_elected`, `stop` and `close` inside of a callback return as elsewhere."""
    store = open_one()
    confirmed: list[object] = []

    def lost(_: object) -> None:
        if len(confirmed) == 1:
            confirmed.append(candidate.wait_elected(5))
        elif len(confirmed) == 2:
            confirmed.append(candidate.stop(5))
            confirmed.append(store.close(5))

    def elected(_: Term) -> None:
        if not confirmed:
            confirmed.append(candidate.resign(0))
        elif len(confirmed) == 2:
            candidate.resign(60)

    candidate = Candidate(store, "key", "a", ttl=3, on_elected=elected, on_lost=lost)
    candidate.start()

    assert eventually(lambda: len(confirmed) == 4, 20)
    assert confirmed[0] is True
    assert isinstance(confirmed[1], Term)
    assert confirmed[2:] == [True, True]
    assert eventually(lambda: not callback_threads())


def test_unread_events_of_a_slow_callback_are_bounded(store: Store) -> None:
    """What is over is dropped, and the latest events come in order."""
    release = threading.Event()
    tokens: list[int] = []
    candidate = Candidate(store, "key", "a", ttl=3)
    state = candidate_control(candidate).state

    def listen(event: CandidateEvent) -> None:
        release.wait(60)
        if isinstance(event, Elected):
            tokens.append(event.term.token)

    candidate.add_listener(listen)
    broadcaster = state.broadcaster
    term = candidate.wait_elected(5)
    assert term is not None
    for _ in range(_MOST_QUEUED):
        for event in (Resigned(), Campaigning(), Elected(term)):
            broadcaster.publish(event)
    (stream,) = [one() for one in broadcaster._streams]
    assert stream is not None
    assert len(stream._queue) <= _MOST_QUEUED + 1
    release.set()
    candidate.stop()
    assert eventually(lambda: not callback_threads())


def test_events_wait_for_a_slow_callback_in_order(store: Store) -> None:
    """All of them are delivered when it returns, in the order in which they happened."""
    begun, release = threading.Event(), threading.Event()
    tokens: list[int] = []
    names: list[str] = []

    def listen(event: CandidateEvent) -> None:
        begun.set()
        release.wait(60)
        names.append(event.name)
        if isinstance(event, Elected):
            tokens.append(event.term.token)

    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.add_listener(listen)
    candidate.start()
    assert begun.wait(5)
    for _ in range(5):
        assert candidate.wait_elected(5)
        candidate.resign(0)
    candidate.stop()
    release.set()

    assert eventually(lambda: names and names[-1] == "stopped")
    assert names == ["campaigning", "elected", "resigned"] * 5 + names[15:]
    assert tokens == sorted(tokens)


def test_follower_callbacks_get_each_leader(open_one: Open) -> None:
    """None where there is none; a listener gets the events."""
    leaders: list[Leader | None] = []
    events: list[str] = []
    with Follower(open_one(), "key", on_leader=leaders.append) as follower:
        follower.add_listener(lambda event: events.append(event.name))
        assert eventually(lambda: leaders == [None])
        with Candidate(open_one(), "key", "a", ttl=3) as candidate:
            candidate.wait_elected(5)
            assert eventually(lambda: len(leaders) == 2)
        assert eventually(lambda: len(leaders) == 3)
    assert [None if one is None else str(one) for one in leaders] == [None, "a", None]
    assert eventually(lambda: events == ["leader_changed"] * 3 + ["stopped"])
    late: list[object] = []
    follower.add_listener(late.append)
    assert eventually(lambda: late == [Stopped()])
    with pytest.raises(ConfigurationError, match="was stopped"):
        follower.start()
    assert eventually(lambda: not callback_threads())
    assert LeaderChanged(None).name == "leader_changed"
