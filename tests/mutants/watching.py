"""Mistakes of those who watch: followers, and what stores tell them."""

from __future__ import annotations

from typing import Any

from leadership_core.delivery import WatchDelivery
from leadership_core.engine.follower_runner import FollowerRunner
from leadership_core.errors import StoreUnavailable
from leadership_core.follower import _View
from leadership_core.subscription import Subscription

from .mutant import Mutant, always

__all__ = ["MUTANTS"]

_FOLLOWERS = "tests/core/test_followers.py"


def leaders_only(sees: Any) -> Any:
    return lambda self, leader: None if leader is None and self.leader else sees(self, leader)


def gives_up(take: Any) -> Any:
    """The first trouble of the store is the end."""

    def mutant(self: Any, seen: Any) -> None:
        if isinstance(seen, StoreUnavailable):
            self.stop()
            self._view.fail(seen)
        else:
            take(self, seen)

    return mutant


def by_value(has_news: Any) -> Any:
    """A leader that has the name of the last one is the last one."""

    def mutant(self: Any) -> bool:
        now, told = self._view.leader, self._told
        if self._first or now is None or told is None:
            return bool(has_news(self))
        return bool(now.value != told.value)

    return mutant


def in_any_order(offer: Any) -> Any:
    def mutant(self: Any, sequence: int, change: Any) -> None:
        self._sequence = min(self._sequence, sequence - 1)
        offer(self, sequence, change)

    return mutant


def dies_of_it(run: Any) -> Any:
    """What the callback raises ends the watch, and nobody is told."""

    def mutant(self: Any) -> None:
        right = self._callback

        def strict(report: Any) -> None:
            try:
                right(report)
            except Exception:
                self._closed = True
                raise

        self._callback = strict
        try:
            run(self)
        finally:
            self._callback = right

    return mutant


MUTANTS = [
    Mutant(
        "a follower never says that nobody leads",
        "The last leader is reported for as long as there is no other one.",
        "docker/leadership on Consul and ZooKeeper",
        ("tests/testing/test_memory.py::TestMemory::test_a_late_follower_sees_no_stale_leader",),
        ((_View, "sees", leaders_only),),
        slow=True,
    ),
    Mutant(
        "a follower ends with the first outage",
        "Its iterator ends; the program has to start anew, or knows the old leader for ever.",
        "docker/leadership's Follower, libkv's Watch (docker/libkv 28)",
        (f"{_FOLLOWERS}::test_outage_keeps_the_last_view",),
        ((FollowerRunner, "_take", gives_up),),
    ),
    Mutant(
        "a follower goes back to an older leader",
        "A watch that lags behind a read brings back who led before.",
        "reads of ZooKeeper's followers without sync, Consul's default reads",
        (f"{_FOLLOWERS}::test_watch_that_is_late_does_not_lead_back",),
        ((FollowerRunner, "_may_be_late", always(value=False)),),
        slow=True,
    ),
    Mutant(
        "an older state is told after a newer one",
        "Two threads report at once, and the last word is the older.",
        "libkv on redis (notified, and then read)",
        ("tests/core/test_stores_subscription.py::test_an_older_state_is_not_told_after_a_newer_one",),
        ((Subscription, "offer", in_any_order),),
    ),
    Mutant(
        "a callback that raises ends its watch",
        "One mistake in the program's own code, and it never hears of a leader again.",
        "asab's LeaderService, etcd3gw's watches",
        ("tests/testing/test_memory.py::TestMemory::test_a_callback_that_raises_is_called_again",),
        ((WatchDelivery, "run", dies_of_it),),
        slow=True,
    ),
]  # fmt: skip
