"""Mutants of followers and of the delivery of watches."""

from __future__ import annotations

from typing import Any

from leadership_core.backend.watches import WatchDelivery
from leadership_core.engine.follower_control import FollowerState
from leadership_core.engine.follower_driver import FollowerDriver
from leadership_core.errors import StoreUnavailable

from .mutant import Mutant, always

__all__ = ["MUTANTS"]

_FOLLOWERS = "tests/unit/test_followers.py"


def leaders_only(sees: Any) -> Any:
    return lambda self, leader: None if leader is None and self.leader else sees(self, leader)


def gives_up(take: Any) -> Any:
    """The first error of the store ends the follower."""

    def mutant(self: Any, seen: Any) -> None:
        if isinstance(seen, StoreUnavailable):
            self.stop()
            self._listener.fail(seen)
        else:
            take(self, seen)

    return mutant


def in_any_order(put: Any) -> Any:
    def mutant(self: Any, report: Any, *, number: int | None = None) -> None:
        put(self, report)

    return mutant


def ends_silently(run: Any) -> Any:
    """An exception of the callback ends the watch silently."""

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
        "follower never reports a vacancy",
        "The last leader is reported until there is another one.",
        "docker/leadership on Consul and ZooKeeper",
        ("tests/contract/test_memory.py::TestMemory::test_follower_that_starts_late_reports_no_stale_leader",),
        ((FollowerState, "on_leader", leaders_only),),
        slow=True,
    ),
    Mutant(
        "follower ends at the first outage",
        "Its iterator ends; the program has to restart it, or keeps an old leader.",
        "docker/leadership's Follower, libkv's Watch (docker/libkv 28)",
        (f"{_FOLLOWERS}::test_outage_keeps_the_last_view",),
        ((FollowerDriver, "_take", gives_up),),
    ),
    Mutant(
        "follower goes back to an older leader",
        "A watch that lags behind a read brings back the previous leader.",
        "reads of ZooKeeper's followers without sync, Consul's default reads",
        (f"{_FOLLOWERS}::test_stale_watch_report_does_not_revert_the_leader",),
        ((FollowerDriver, "_may_be_late", always(value=False)),),
        slow=True,
    ),
    Mutant(
        "older state delivered after a newer one",
        "Two threads report at once, and the older state comes last.",
        "libkv on redis (notified, and then read)",
        ("tests/unit/test_watch_delivery.py::test_watch_skips_an_older_state_published_late",),
        ((WatchDelivery, "put", in_any_order),),
    ),
    Mutant(
        "exception in a callback ends the watch",
        "After one exception of the program's callback no change is delivered.",
        "asab's LeaderService, etcd3gw's watches",
        ("tests/contract/test_memory.py::TestMemory::test_watch_callback_that_raises_is_called_again",),
        ((WatchDelivery, "run", ends_silently),),
        slow=True,
    ),
]  # fmt: skip
