"""Mutants of leases: deadlines, clocks, margins and renewals."""

from __future__ import annotations

import time
from typing import Any

from leadership_core.backend import clock
from leadership_core.engine import backoff, candidate_requests, lease, session_keeper
from leadership_core.engine.lease import Lease
from leadership_core.engine.session_keeper import SessionKeeper
from leadership_core.errors import LeadershipError, SessionLost, StoreUnavailable
from leadership_core.term import LostReason

from .mutant import Mutant, always, nothing

__all__ = ["MUTANTS"]

_LEASE = "tests/unit/test_lease.py"
_TIMING = "tests/unit/test_timing.py"
_FAULTS = "tests/unit/test_faults.py"


def from_the_reply(acknowledge: Any) -> Any:
    return lambda self, sent, ttl: acknowledge(self, self._clock(), ttl)


def the_wall() -> float:
    return time.time()  # looked up each time, because a test sets it


def by_the_wall(init: Any) -> Any:
    def mutant(self: Any, ttl: float, **options: Any) -> None:
        init(self, ttl, **{**options, "now": options.get("now", the_wall)})

    return mutant


def while_awake() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def by_the_monotonic_clock(init: Any) -> Any:
    def mutant(self: Any, ttl: float, **options: Any) -> None:
        init(self, ttl, **{**options, "now": options.get("now", while_awake)})

    return mutant


def monotonic_clock(_: Any) -> Any:
    return while_awake


def wall_clock(_: Any) -> Any:
    return the_wall


def no_margin(safety_margin: Any) -> Any:
    return lambda ttl, wanted=None, least=0.0: 0.0


def reviving(acknowledge: Any) -> Any:
    def mutant(self: Any, sent: float, ttl: float) -> Any:
        self._first_reason.clear()
        self.ended_reason, self.deadline = None, sent + ttl
        return acknowledge(self, sent, ttl)

    return mutant


def keep_alive(close: Any) -> Any:
    def mutant(self: Any) -> None:
        while self.session is not None and not self._context.closed.wait(0.2):
            try:
                self.session.renew()
            except LeadershipError:
                continue

    return mutant


def patient(fail: Any) -> Any:
    """The next renewal keeps its regular time."""

    def mutant(self: Any) -> None:
        self.renew_at = self._clock() + self.effective_ttl / 3

    return mutant


def impatient(report: Any) -> Any:
    """One failed renewal ends the term."""

    def mutant(self: Any, error: Exception) -> None:
        self.lease.end(LostReason.EXPIRED)
        report(self, error)

    return mutant


def silence_is_success(call: Any) -> Any:
    def mutant(limit: float, request: Any, *observed: Any) -> Any:
        try:
            return call(limit, request, *observed)
        except SessionLost:
            raise
        except StoreUnavailable:
            if getattr(request, "__name__", "") != "renew":
                raise
            return request.__self__.ttl

    return mutant


def lost_is_outage(call: Any) -> Any:
    """A lost session is taken for an outage."""

    def mutant(limit: float, request: Any, *observed: Any) -> Any:
        try:
            return call(limit, request, *observed)
        except SessionLost as error:
            if getattr(request, "__name__", "") == "renew":
                return request.__self__.ttl
            raise StoreUnavailable(str(error)) from error

    return mutant


def without_jitter(next_wait: Any) -> Any:
    """Backoff without jitter."""

    def mutant(self: Any) -> float:
        tries, self._tries = self._tries, self._tries + 1
        return float(min(self._cap, self._first * 2.0 ** min(tries, 30)))

    return mutant


MUTANTS = [
    Mutant(
        "deadline counts from the response",
        "The lease is counted from the arrival of the response, but the server counts from an earlier time.",
        "client-go's leaderelection, etcd's concurrency.Session, grelmicro",
        (f"{_LEASE}::test_deadline_counts_from_the_time_of_sending",),
        ((Lease, "acknowledge", from_the_reply),),
        "default",
    ),
    Mutant(
        "wall clock",
        "The lease is measured with a clock that can be set: setting it back extends the lease.",
        "Patroni until 2026, Curator's LOST timer, the Kubernetes client for Python, sherlock",
        (
            "tests/unit/test_wall_clock.py::test_term_is_not_prolonged_when_the_wall_clock_is_set_back",
        ),
        ((Lease, "__init__", by_the_wall), (clock, "now", wall_clock)),
    ),
    Mutant(
        "clock stops during suspend",
        "The client's monotonic clock stops while the machine sleeps, the server's does not: it wakes up as a leader.",
        "users of time.monotonic() on Linux, or of Go's clock (golang/go 24595)",
        ("tests/unit/test_wall_clock.py::test_lease_expires_while_the_machine_is_suspended",),
        ((Lease, "__init__", by_the_monotonic_clock), (clock, "now", monotonic_clock)),
        slow=True,
    ),
    Mutant(
        "no margin",
        "The leader leads to the very end of the ttl: clocks with slightly different rates make two leaders.",
        "etcd's concurrency.Session (the whole ttl, from the answer on)",
        (f"{_LEASE}::test_deadline_counts_from_the_time_of_sending",),
        ((lease, "safety_margin", no_margin),),
        "default",
    ),
    Mutant(
        "late acknowledgement revives the term",
        "A process that slept processes an old response and leads again, beside the next leader.",
        "aioredlock (46: the validity is not tracked)",
        (f"{_LEASE}::test_acknowledgement_after_the_deadline_does_not_revive_the_lease",),
        ((Lease, "acknowledge", reviving),),
    ),
    Mutant(
        "session renewed after its deadline",
        "Renewals arrive and responses do not: the claim blocks the key without a leader.",
        "Consul's api.Lock (hashicorp/consul 2371, 4935): the lock is stuck",
        (f"{_FAULTS}::test_claim_expires_when_only_replies_are_lost",),
        ((SessionKeeper, "_close", keep_alive),),
        "default",
        slow=True,
    ),
    Mutant(
        "failed renewal is not retried early",
        "The next renewal comes a third of the ttl later: two lost packets cost the term.",
        "kopiur (324: 90 losses in six days)",
        (f"{_LEASE}::test_renewals_are_retried_faster_the_less_time_is_left",),
        ((Lease, "schedule_retry", patient),),
    ),
    Mutant(
        "one failed renewal ends the term",
        "A single slow response makes the leader step down.",
        "libkv on etcd (docker/libkv 31), Consul's api.Lock (hashicorp/consul 912), choria on NATS",
        ("tests/contract/test_memory.py::TestMemory::test_renewal_that_fails_once_is_repeated",),
        ((SessionKeeper, "_report", impatient),),
    ),
    Mutant(
        "renewal without a response counts",
        "An unknown outcome is taken for success: a leader that is cut off leads without end.",
        "Consul's api.Lock (hashicorp/consul 18271), etcd3gw's Lease, tooz on redis",
        (f"{_FAULTS}::test_long_outage_ends_the_term_in_time_and_nothing_else",),
        ((session_keeper, "call", silence_is_success),),
    ),
    Mutant(
        "end of the session is taken for an outage",
        "The store reports that the session has ended, and the client waits for the store to recover.",
        "libkv on ZooKeeper (docker/libkv 156), kazoo's Lock, etcd3gw's Lease",
        ("tests/unit/test_sharing.py::test_lost_session_ends_the_terms_of_all_its_users",),
        ((session_keeper, "call", lost_is_outage), (candidate_requests, "call", lost_is_outage)),
        "default",
    ),
    Mutant(
        "deadline without a timer",
        "The loss is not reported while a renewal hangs.",
        "docker/leadership on Consul (49 s of two leaders), kazoo (LOST only when it is connected again)",
        ("tests/unit/test_deadline_timer.py::test_loss_is_reported_while_the_renewal_hangs",),
        ((SessionKeeper, "_guard_deadline", nothing),),
    ),
    Mutant(
        "retries without backoff",
        "Each failure is retried at once: a store in trouble gets a hot loop on top.",
        "docker/leadership on a lock that is lost at once, etcd3gw's heartbeat (1)",
        (f"{_TIMING}::test_backoff_spreads_and_is_capped",),
        ((backoff.Backoff, "next", always(value=0.0)),),
        "default",
    ),
    Mutant(
        "retries without jitter",
        "All clients that an outage has hit come back together, again and again.",
        "Consul's api.Lock (a fixed 5 s)",
        (f"{_TIMING}::test_backoff_spreads_and_is_capped",),
        ((backoff.Backoff, "next", without_jitter),),
    ),
    Mutant(
        "keepalive after close",
        "The session of a closed store is still renewed, and its claims remain.",
        "libkv and valkeyrie (renewed until RenewLock is closed)",
        ("tests/unit/test_closing.py::test_close_stops_all_candidates_and_followers[memory]",),
        ((SessionKeeper, "release", nothing),),
        slow=True,
    ),
]
