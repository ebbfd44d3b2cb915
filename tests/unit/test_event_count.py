"""Event counts: who is woken, and by what."""

from __future__ import annotations

import threading

import pytest

from leadership_core.backend.event_count import EventCount
from tests.support.waiting import eventually


def test_thread_is_not_woken_while_its_predicate_is_false() -> None:
    """The thread that notifies reads the state in place of the one that waits."""
    event, ready = EventCount(), False
    read_by: list[int] = []

    def predicate() -> bool:
        read_by.append(threading.get_ident())
        return ready

    waiter = threading.Thread(target=event.wait_for, args=(predicate, 10.0))
    waiter.start()
    assert eventually(lambda: len(read_by) == 2)  # before and after it has registered

    for _ in range(5):
        event.notify_all()

    assert read_by[2:] == [threading.get_ident()] * 5
    ready = True
    event.notify_all()
    waiter.join(5)
    assert not waiter.is_alive()
    assert read_by[-1] == waiter.ident


def test_error_of_a_predicate_is_raised_in_the_thread_that_waits() -> None:
    """The thread that notifies goes on, and wakes all others."""
    event, fails = EventCount(), False
    caught: list[BaseException] = []

    def predicate() -> bool:
        if fails:
            raise RuntimeError("of the predicate")
        return False

    def wait() -> None:
        with pytest.raises(RuntimeError) as error:
            event.wait_for(predicate, 10.0)
        caught.append(error.value)

    other = threading.Thread(target=event.wait_for, args=(lambda: fails, 10.0))
    waiter = threading.Thread(target=wait)
    waiter.start()
    other.start()
    assert eventually(lambda: len(event._waiters) == 2)

    fails = True
    event.notify_all()

    waiter.join(5)
    other.join(5)
    assert not waiter.is_alive()
    assert not other.is_alive()
    assert len(caught) == 1
