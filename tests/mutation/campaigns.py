"""Mutants of a candidate: its state, its requests and its events."""

from __future__ import annotations

import time
from typing import Any

from leadership_core.candidate import Candidate
from leadership_core.engine.broadcast import EventStream
from leadership_core.engine.candidate_state import LeadershipIterator
from leadership_core.engine.claim_watch import ClaimWatch
from leadership_core.engine.early_query import EarlyQuery
from leadership_core.engine.executors import WorkerPool
from leadership_core.engine.messages import Phase
from leadership_core.engine.state_machine import CandidateStateMachine

from .mutant import Mutant, nothing

__all__ = ["MUTANTS"]

_STATE_MACHINE = "tests/unit/test_state_machine.py"
_STATE_MACHINE_FAILURES = "tests/unit/test_state_machine_failures.py"
_LEAVING = "tests/unit/test_leaving.py"
_WATCHES = "tests/unit/test_engine_watches.py"
_FAULTS = "tests/unit/test_faults.py"
_SHARING = "tests/unit/test_sharing.py"
_MEMORY = "tests/contract/test_memory.py::TestMemory"


def flag(_: Any) -> Any:
    return property(lambda self: self._state.current is not None)


def kept_term(_: Any) -> Any:
    return property(lambda self: self._state.current and self._state.current.term)


def one_shot(init: Any) -> Any:
    return lambda self, ttl, rng, **_: init(self, ttl, rng, once=True)


def unwatched_leader(ask: Any) -> Any:
    def mutant(self: Any) -> None:
        if self.phase is not Phase.LEADING:
            ask(self)

    return mutant


def sent_under_a_lock(append: Any) -> Any:
    """The scheduler's thread waits until the reader has taken the event."""

    def mutant(self: Any, number: int, event: Any) -> None:
        append(self, number, event)
        until = time.monotonic() + 3.0
        while (number, event) in self._queue and time.monotonic() < until:
            time.sleep(0.01)

    return mutant


def in_the_same_thread(submit: Any) -> Any:
    return lambda self, job: job()


def suspended_again(failed: Any) -> Any:
    def mutant(self: Any, error: Any) -> None:
        self._announcements._suspended = False
        failed(self, error)

    return mutant


def delivers_expired_true(step: Any) -> Any:
    def mutant(self: Any) -> bool:
        if not self._first:
            return bool(step(self))
        self._first = False
        return self._known is not None

    return mutant


def unless_started(changed: Any) -> Any:
    def mutant(self: Any) -> None:
        if not (self._prepared and self._prepared.started):
            changed(self)

    return mutant


def once_prepared(prepare: Any) -> Any:
    def mutant(self: Any, keeper: Any, claim: Any) -> None:
        if claim is not None:
            prepare(self, keeper, claim)

    return mutant


def not_woken(arm: Any) -> Any:
    def mutant(self: Any, claim: Any, limit: float) -> bool:
        arm(self, claim, limit)
        return False

    return mutant


MUTANTS = [
    Mutant(
        "stored flag",
        "Leadership is a stored variable: after a pause it is true until a thread has run.",
        "docker/leadership's IsLeader, kazoo's is_acquired, client-go's IsLeader",
        (
            "tests/unit/test_lead.py::test_term_ends_with_the_clock_even_if_no_thread_runs",
            "tests/unit/test_paused_leader.py::test_is_leader_is_false_at_the_first_call_after_a_pause",
        ),
        ((Candidate, "is_leader", flag), (Candidate, "term", kept_term)),
    ),
    Mutant(
        "one-shot campaign",
        "After the first loss the candidate campaigns no more; the program has to notice and restart it.",
        "docker/leadership (any error of the store ends it), client-go, tooz on Consul (StackStorm/st2 4015)",
        (f"{_FAULTS}::test_operator_ends_a_term_at_once",
         "tests/system/test_processes.py::test_02_leader_paused[sqlite]"),
        ((CandidateStateMachine, "__init__", one_shot),),
    ),
    Mutant(
        "no own-key watch",
        "A leader does not watch its claim: deleting the claim makes a second leader.",
        "etcd's Election, docker/leadership on ZooKeeper (docker-archive/leadership 9)",
        (f"{_FAULTS}::test_operator_ends_a_term_at_once",
         f"{_MEMORY}::test_leader_whose_claim_was_deleted_reports_the_loss"),
        ((CandidateStateMachine, "_query_status", unwatched_leader),),
    ),
    Mutant(
        "event is sent under a lock",
        "A user that does not read events delays the loss, the renewals and all callers.",
        "docker/leadership (its channels have no buffer, IsLeader wants the same mutex)",
        ("tests/unit/test_unread_events.py::test_unread_events_do_not_delay_the_candidate[memory]",),
        ((EventStream, "append", sent_under_a_lock),),
    ),
    Mutant(
        "requests in the scheduler's thread",
        "A request that blocks for one candidate delays the timers and losses of all candidates.",
        "asab's LeaderService (work in kazoo's own thread)",
        ("tests/unit/test_deadline_timer.py::test_loss_is_reported_while_a_request_hangs",),
        ((WorkerPool, "submit", in_the_same_thread),),
    ),
    Mutant(
        "suspended is reported repeatedly",
        "Each failed renewal adds one more event, so the sequence of events is wrong.",
        "callbacks out of order: client-go 1187, fabric8 5463",
        (f"{_STATE_MACHINE_FAILURES}::test_outage_and_its_end_are_reported_once",),
        ((CandidateStateMachine, "_renewal_failed", suspended_again),),
        "default",
    ),
    Mutant(
        "change of the claim is dropped",
        "The watch fires and its event is dropped: a waiting candidate is elected late, or never.",
        "python-etcd3's watches (1227), etcd3gw's executor",
        (f"{_SHARING}::test_candidates_of_two_stores_wait_for_each_other_at_the_store",),
        ((ClaimWatch, "wake", nothing), (EarlyQuery, "start", nothing)),
        "default",
    ),
    Mutant(
        "change during an early read is dropped",
        "A change that comes while the read is under way is never read: the candidate waits on.",
        "engine/early_query.py: the read answers the report that has started it, and no later one",
        ("tests/unit/test_early_query.py::test_report_during_the_read_leads_to_another_query",),
        ((EarlyQuery, "changed", unless_started),),
    ),
    Mutant(
        "early read of an earlier time is an answer",
        "The state machine has sent a later query, or withdraws, and gets the answer of a read before that.",
        "engine/early_query.py: the read is dropped where the state machine has gone on",
        ("tests/unit/test_early_query.py::test_answer_is_dropped_where_the_state_machine_has_gone_on",),
        ((EarlyQuery, "prepare", once_prepared),),
    ),
    Mutant(
        "change before the watch of a granted claim is dropped",
        "The claim is deleted between its election and its watch, and leads until its lease ends.",
        "watches that begin at the present state: etcd's without a start revision",
        (f"{_WATCHES}::test_granted_claim_is_read_where_its_watch_does_not_show_the_same[True]",),
        ((ClaimWatch, "arm", not_woken),),
    ),
    Mutant(
        "expired True is delivered",
        "A slow reader of the iterator starts to work in a term that has ended.",
        "docker/leadership (elections are queued, never left out)",
        ("tests/unit/test_iterators.py::test_iterator_skips_a_true_that_has_expired",),
        ((LeadershipIterator, "__next__", delivers_expired_true),),
    ),
]  # fmt: skip
