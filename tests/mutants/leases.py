"""Mistakes about time: deadlines, clocks, margins, and how renewals are made."""

from __future__ import annotations

import time
from typing import Any

from leadership_core import clock, lease, timing
from leadership_core.engine import candidate_runner, leased_session
from leadership_core.engine.leased_session import LeasedSession
from leadership_core.errors import LeadershipError, SessionLost, StoreUnavailable
from leadership_core.lease import Lease, LostReason

from .mutant import Mutant, always, nothing

__all__ = ["MUTANTS"]

_LEASE = "tests/core/test_lease.py"
_FAULTS = "tests/core/test_faults.py"


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


def no_margin(margin_for: Any) -> Any:
    return lambda ttl, wanted=None, least=0.0: 0.0


def reviving(acknowledge: Any) -> Any:
    def mutant(self: Any, sent: float, ttl: float) -> Any:
        self.over, self.deadline = None, sent + ttl
        return acknowledge(self, sent, ttl)

    return mutant


def keep_alive(close: Any) -> Any:
    def mutant(self: Any) -> None:
        while self.session is not None and not self._engine.closed.wait(0.2):
            try:
                self.session.renew()
            except LeadershipError:
                continue

    return mutant


def patient(fail: Any) -> Any:
    """The next try comes when it would have come anyway."""

    def mutant(self: Any) -> None:
        self.renew_at = self._clock() + self.ttl / 3

    return mutant


def impatient(report: Any) -> Any:
    """One renewal that fails ends the term."""

    def mutant(self: Any, error: Exception) -> None:
        self.lease.end(LostReason.EXPIRED)
        report(self, error)

    return mutant


def silence_is_consent(call: Any) -> Any:
    def mutant(limit: float, request: Any) -> Any:
        try:
            return call(limit, request)
        except SessionLost:
            raise
        except StoreUnavailable:
            if getattr(request, "__name__", "") != "renew":
                raise
            return request.__self__.ttl

    return mutant


def lost_is_unknown(call: Any) -> Any:
    """What the store says of the end of a session is not heard."""

    def mutant(limit: float, request: Any) -> Any:
        try:
            return call(limit, request)
        except SessionLost as error:
            if getattr(request, "__name__", "") == "renew":
                return request.__self__.ttl
            raise StoreUnavailable(str(error)) from error

    return mutant


def in_step(next_wait: Any) -> Any:
    """No jitter: whoever failed together tries again together."""

    def mutant(self: Any) -> float:
        tries, self._tries = self._tries, self._tries + 1
        return float(min(self._cap, self._first * 2.0 ** min(tries, 30)))

    return mutant


MUTANTS = [
    Mutant(
        "deadline from the reply's time",
        "The lease is counted from when the answer came, and the server has counted from earlier.",
        "client-go's leaderelection, etcd's concurrency.Session, grelmicro",
        (f"{_LEASE}::test_deadline_counts_from_the_sending",),
        ((Lease, "acknowledge", from_the_reply),),
        "default",
    ),
    Mutant(
        "wall clock",
        "The lease is measured with a clock that somebody sets: a step back prolongs belief.",
        "Patroni until 2026, Curator's LOST timer, the Kubernetes client for Python, sherlock",
        ("tests/core/test_wall_clock.py::test_a_clock_that_is_set_back_prolongs_no_belief",),
        ((Lease, "__init__", by_the_wall), (clock, "now", wall_clock)),
    ),
    Mutant(
        "a clock that stops while the machine is suspended",
        "The server's clock goes on, the client's monotonic one does not: it wakes up and leads.",
        "whatever uses time.monotonic() on Linux, or Go's clock (golang/go 24595)",
        ("tests/core/test_wall_clock.py::test_the_lease_goes_on_while_the_machine_is_suspended",),
        ((Lease, "__init__", by_the_monotonic_clock), (clock, "now", monotonic_clock)),
        slow=True,
    ),
    Mutant(
        "no margin",
        "Belief lasts until the very end of the ttl: clocks that differ a little make two leaders.",
        "etcd's concurrency.Session (the whole ttl, from the answer on)",
        (f"{_LEASE}::test_deadline_counts_from_the_sending",),
        ((lease, "margin_for", no_margin),),
        "default",
    ),
    Mutant(
        "an acknowledgement after the deadline revives the term",
        "A process that slept takes in the answer of before, and leads again beside another one.",
        "aioredlock (46: the validity is not tracked)",
        (f"{_LEASE}::test_acknowledgement_after_the_deadline_revives_nothing",),
        ((Lease, "acknowledge", reviving),),
    ),
    Mutant(
        "a session is renewed past its deadline",
        "Renewals arrive and answers do not: the claim is held for ever, for nobody.",
        "Consul's api.Lock (hashicorp/consul 2371, 4935): the lock is stuck",
        (f"{_FAULTS}::test_lost_replies_do_not_keep_the_claim_for_ever",),
        ((LeasedSession, "_close", keep_alive),),
        "default",
        slow=True,
    ),
    Mutant(
        "a renewal that failed is not sent sooner",
        "The next one comes a third of the ttl later: two lost packets cost the term.",
        "kopiur (324: 90 losses in six days)",
        (f"{_LEASE}::test_renewals_are_tried_faster_the_less_is_left",),
        ((Lease, "fail", patient),),
    ),
    Mutant(
        "one renewal that fails ends the term",
        "A single slow answer makes the leader step down.",
        "libkv on etcd (docker/libkv 31), Consul's api.Lock (hashicorp/consul 912), choria on NATS",
        ("tests/testing/test_memory.py::TestMemory::test_a_renewal_that_fails_once_costs_nothing",),
        ((LeasedSession, "_report", impatient),),
    ),
    Mutant(
        "a renewal without an answer counts",
        "Unknown is taken for success: a leader that is cut off believes for ever.",
        "Consul's api.Lock (hashicorp/consul 18271), etcd3gw's Lease, tooz on redis",
        (f"{_FAULTS}::test_long_outage_ends_the_term_in_time_and_nothing_else",),
        ((leased_session, "call", silence_is_consent),),
    ),
    Mutant(
        "the end of a session is not heard",
        "The store says that the session is gone, and it is taken for an outage.",
        "libkv on ZooKeeper (docker/libkv 156), kazoo's Lock, etcd3gw's Lease",
        ("tests/core/test_sharing.py::test_lost_session_is_lost_for_all_at_once",),
        ((leased_session, "call", lost_is_unknown), (candidate_runner, "call", lost_is_unknown)),
        "default",
    ),
    Mutant(
        "the deadline waits for the request",
        "There is no timer: nobody is told of the loss while the renewal hangs.",
        "docker/leadership on Consul (49 s of two leaders), kazoo (LOST only when it is connected again)",
        ("tests/core/test_deadline_timer.py::test_a_loss_is_told_while_the_renewal_hangs",),
        ((LeasedSession, "_guard_deadline", nothing),),
    ),
    Mutant(
        "tries without a wait",
        "Whatever fails is tried again at once: a store in trouble gets a hot loop on top.",
        "docker/leadership on a lock that is lost at once, etcd3gw's heartbeat (1)",
        (f"{_LEASE}::test_backoff_spreads_and_is_capped",),
        ((timing.Backoff, "next", always(value=0.0)),),
        "default",
    ),
    Mutant(
        "everybody tries again at the same moment",
        "Waits have no jitter: all that an outage has hit come back together, again and again.",
        "Consul's api.Lock (a fixed 5 s)",
        (f"{_LEASE}::test_backoff_spreads_and_is_capped",),
        ((timing.Backoff, "next", in_step),),
    ),
    Mutant(
        "keepalive after close",
        "The session of a store that was closed is renewed on, and its claims stand.",
        "libkv and valkeyrie (renewed until somebody closes RenewLock)",
        ("tests/core/test_leaving.py::test_close_stops_everybody[memory]",),
        ((LeasedSession, "release", nothing),),
        slow=True,
    ),
]
