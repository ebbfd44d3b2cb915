"""How a watch of the core's stores tells: in order, one at a time, the last state for sure."""

from __future__ import annotations

import threading

from leadership_core.store import Change, Entry
from leadership_core.subscription import Subscription
from tests.core.stores_harness import Seen


def entry(number: int) -> Entry:
    return Entry("a", b"", number)


def test_an_older_state_is_not_told_after_a_newer_one() -> None:
    """Threads may offer in another order than that in which things happened."""
    seen = Seen()
    subscription = Subscription(seen, lambda _: None)

    subscription.offer(5, entry(5))
    subscription.offer(4, entry(4))
    subscription.offer(5, entry(5))
    subscription.offer(6, None)
    assert seen.changes == [entry(5), None]


def test_states_that_come_during_a_call_are_told_after_it() -> None:
    """Only the last of them, in the thread that is calling back, and never two at once."""
    inside, proceed, told = threading.Event(), threading.Event(), Seen()
    threads: list[int] = []

    def slow(change: Change) -> None:
        threads.append(threading.get_ident())
        inside.set()
        assert proceed.wait(3)
        told(change)

    subscription = Subscription(slow, lambda _: None)
    teller = threading.Thread(target=subscription.offer, args=(1, entry(1)))
    teller.start()
    assert inside.wait(3)
    for number in (2, 3, 4):
        subscription.offer(number, entry(number))
    proceed.set()
    teller.join(3)

    assert told.changes == [entry(1), entry(4)]
    assert set(threads) == {teller.ident}


def test_it_is_forgotten_once() -> None:
    """Closing it again, from anywhere, does not take it off the store's list again."""
    forgotten: list[Subscription] = []
    subscription = Subscription(Seen(), forgotten.append)

    subscription.close()
    subscription.close()
    assert forgotten == [subscription]


def test_an_interrupted_callback_does_not_silence_the_watch() -> None:
    """What is no error of the callback, such as Ctrl-C, goes up; the next state is told."""
    seen = Seen()

    def interrupted(change: Change) -> None:
        seen(change)
        if len(seen.changes) == 1:
            raise KeyboardInterrupt

    subscription = Subscription(interrupted, lambda _: None)
    try:
        subscription.offer(1, entry(1))
    except KeyboardInterrupt:
        subscription.offer(2, entry(2))
    assert seen.changes == [entry(1), entry(2)]
    subscription.close()
