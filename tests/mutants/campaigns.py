"""Mistakes of a candidate: what it believes, asks and tells."""

from __future__ import annotations

import time
from typing import Any

from leadership_core.candidate import Candidate
from leadership_core.engine.leased_session import LeasedSession
from leadership_core.engine.turn_watch import TurnWatch
from leadership_core.engine.workers import Workers
from leadership_core.machine import Campaign, Phase
from leadership_core.stories import Story
from leadership_core.tenure import Verdicts

from .mutant import Mutant, always, nothing

__all__ = ["MUTANTS"]

_CAMPAIGN = "tests/core/test_campaign.py"
_LEAVING = "tests/core/test_leaving.py"
_FAULTS = "tests/core/test_faults.py"
_SHARING = "tests/core/test_sharing.py"
_MEMORY = "tests/testing/test_memory.py::TestMemory"


def flag(_: Any) -> Any:
    return property(lambda self: self._tenure.reign is not None)


def kept_term(_: Any) -> Any:
    return property(lambda self: self._tenure.reign and self._tenure.reign.term)


def one_shot(init: Any) -> Any:
    return lambda self, ttl, rng, **_: init(self, ttl, rng, once=True)


def deaf_leader(ask: Any) -> Any:
    def mutant(self: Any) -> None:
        if self.phase is not Phase.LEADING:
            ask(self)

    return mutant


def sent_under_the_lock(append: Any) -> Any:
    """The thread of the scheduler waits here until the reader has taken the event."""

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
        self._suspended = False
        failed(self, error)

    return mutant


def tells_what_is_over(step: Any) -> Any:
    def mutant(self: Any) -> bool:
        if not self._first:
            return bool(step(self))
        self._first = False
        return self._told is not None

    return mutant


MUTANTS = [
    Mutant(
        "stored flag",
        "Whether it leads is a variable: after a pause it says yes until a thread has run.",
        "docker/leadership's IsLeader, kazoo's is_acquired, client-go's IsLeader",
        (
            "tests/core/test_lead.py::test_belief_ends_with_the_clock_even_if_nothing_runs",
            "tests/core/test_pause.py::test_the_first_question_after_a_pause_is_answered_by_the_clock",
        ),
        ((Candidate, "is_leader", flag), (Candidate, "term", kept_term)),
    ),
    Mutant(
        "one-shot campaign",
        "After the first loss it stands no more; the program has to notice and start anew.",
        "docker/leadership (any error of the store ends it), client-go, tooz on Consul (StackStorm/st2 4015)",
        (f"{_FAULTS}::test_operator_ends_a_term_at_once",
         "tests/scenarios/test_pauses.py::test_a_leader_that_was_frozen[sqlite]"),
        ((Campaign, "__init__", one_shot),),
    ),
    Mutant(
        "no own-key watch",
        "A leader does not look at its claim: who deletes it makes a second leader.",
        "etcd's Election, docker/leadership on ZooKeeper (docker-archive/leadership 9)",
        (f"{_FAULTS}::test_operator_ends_a_term_at_once",
         f"{_MEMORY}::test_a_leader_learns_that_its_claim_was_deleted"),
        ((Campaign, "_ask", deaf_leader),),
    ),
    Mutant(
        "an event is sent under the lock",
        "Whoever does not read holds up the loss, the renewal and everybody who asks.",
        "docker/leadership (its channels have no buffer, IsLeader wants the same mutex)",
        ("tests/core/test_unread.py::test_an_event_that_nobody_reads_holds_up_nobody[memory]",),
        ((Story, "append", sent_under_the_lock),),
    ),
    Mutant(
        "requests in the scheduler's thread",
        "What blocks one candidate blocks the timers and the losses of all.",
        "asab's LeaderService (work in kazoo's own thread)",
        ("tests/core/test_deadline_timer.py::test_a_loss_is_told_while_a_request_hangs",),
        ((Workers, "submit", in_the_same_thread),),
    ),
    Mutant(
        "suspended is told again and again",
        "Each renewal that fails is one more event, and the story makes no sense.",
        "callbacks out of order: client-go 1187, fabric8 5463",
        (f"{_CAMPAIGN}::test_trouble_is_told_once_and_its_end_too",),
        ((Campaign, "_renewal_failed", suspended_again),),
        "default",
    ),
    Mutant(
        "nobody is told of a change",
        "The watch is there, and what it says is dropped: who waits is elected late, or never.",
        "python-etcd3's watches (1227), etcd3gw's executor",
        (f"{_SHARING}::test_second_candidate_for_a_key_has_a_session_of_its_own",),
        ((TurnWatch, "wake", nothing),),
        "default",
    ),
    Mutant(
        "two candidates of a process share a claim",
        "Both stand with one session, so the store takes them for the same one.",
        "etcd's concurrency.Mutex (two of one session), tooz on redis",
        (f"{_SHARING}::test_second_candidate_for_a_key_has_a_session_of_its_own",),
        ((LeasedSession, "has", always(value=False)),),
    ),
    Mutant(
        "a True whose term is over is told",
        "A reader that was slow starts to work for a term that has ended.",
        "docker/leadership (elections are queued, never left out)",
        ("tests/core/test_iterators.py::test_true_that_is_over_is_not_told",),
        ((Verdicts, "__next__", tells_what_is_over),),
    ),
]  # fmt: skip
