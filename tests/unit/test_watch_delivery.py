"""Delivery of watch reports: in order, one call at a time, the latest report always."""

from __future__ import annotations

import threading

import pytest

from leadership_core.backend import Change, Entry, WatchDelivery
from tests.support.waiting import Seen


def entry(number: int) -> Entry:
    return Entry("a", b"", number)


def test_watch_skips_an_older_state_published_late() -> None:
    """Threads may publish in another order than that of the changes."""
    seen = Seen()
    delivery = WatchDelivery(seen)

    delivery.publish(entry(5), number=5)
    delivery.publish(entry(4), number=4)
    delivery.publish(entry(5), number=5)
    delivery.publish(None, number=6)
    assert seen == [entry(5), None]


def test_watch_delivers_only_the_latest_state_published_during_a_call() -> None:
    """The thread that is in the callback delivers it next, and never two calls run at once."""
    inside, proceed, seen = threading.Event(), threading.Event(), Seen()
    threads: list[int] = []

    def slow(change: Change) -> None:
        threads.append(threading.get_ident())
        inside.set()
        assert proceed.wait(3)
        seen(change)

    delivery = WatchDelivery[Change](slow)
    publisher = threading.Thread(target=delivery.publish, args=(entry(1),), kwargs={"number": 1})
    publisher.start()
    assert inside.wait(3)
    for number in (2, 3, 4):
        delivery.publish(entry(number), number=number)
    proceed.set()
    publisher.join(3)

    assert seen == [entry(1), entry(4)]
    assert set(threads) == {publisher.ident}


def test_close_calls_its_hook_once() -> None:
    """A repeated close does not remove the watch from the store's list again."""
    closed: list[str] = []
    delivery = WatchDelivery(Seen(), lambda: closed.append("once"))

    delivery.close()
    delivery.close()
    assert closed == ["once"]


def test_watch_survives_an_interrupted_callback() -> None:
    """An exception that is no error, such as Ctrl-C, is raised; the next state is delivered."""
    seen = Seen()

    def interrupted(change: Change) -> None:
        seen(change)
        if len(seen) == 1:
            raise KeyboardInterrupt

    delivery = WatchDelivery[Change](interrupted)
    try:
        delivery.publish(entry(1), number=1)
    except KeyboardInterrupt:
        delivery.publish(entry(2), number=2)
    assert seen == [entry(1), entry(2)]
    delivery.close()


def test_watch_logs_a_callback_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged with its message, and the next state is delivered."""
    seen = Seen()

    def fail(change: Change) -> None:
        seen(change)
        raise RuntimeError("a mistake of the user's")

    delivery = WatchDelivery[Change](fail)
    delivery.publish(entry(1), number=1)
    delivery.publish(entry(2), number=2)
    assert seen == [entry(1), entry(2)]
    assert "a mistake of the user's" in caplog.text
