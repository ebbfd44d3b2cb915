"""Mutants of the queue in which the candidates of one process wait for a key."""

from __future__ import annotations

from typing import Any

from leadership_core.engine import state_machine
from leadership_core.engine.key_queue import KeyQueues
from leadership_core.engine.messages import Phase
from leadership_core.engine.session_keeper import SessionKeeper
from leadership_core.engine.state_machine import CandidateStateMachine

from .mutant import Mutant, always, nothing

__all__ = ["MUTANTS"]

_SHARING = "tests/unit/test_sharing.py"
_QUEUE = "tests/unit/test_key_queue.py"
_MACHINE = "tests/unit/test_state_machine_gates.py"


def without_checking(phases: Any) -> Any:
    return tuple(phase for phase in phases if phase is not Phase.CHECKING_READINESS)


def before_the_answer(withdraw: Any) -> Any:
    """The next candidate enters beside the claim that is being withdrawn."""

    def mutant(self: Any) -> None:
        withdraw(self)
        self._out += self._held.leave_queue()

    return mutant


def whatever_the_lease(can_enter: Any) -> Any:
    """A session is used until the end of its lease was reported to its users."""

    def mutant(self: Any, key: str) -> bool:
        return key not in self.occupied

    return mutant


def newest_first(join: Any) -> Any:
    def mutant(self: Any, user: Any, place: int | None = None) -> int:
        return int(join(self, user, -next(self._numbers) if place is None else place))

    return mutant


MUTANTS = [
    Mutant(
        "session enters a key twice",
        "A session enters beside an orphaned claim of it, so the store takes the two for one.",
        "etcd's concurrency.Mutex (two of one session), tooz on redis",
        (f"{_SHARING}::test_session_with_an_orphaned_claim_does_not_enter_the_key_again",),
        ((SessionKeeper, "can_enter", always(value=True)),),
        "default",
    ),
    Mutant(
        "session is used after its lease",
        "The next candidate of the process enters with a session whose end is still to be reported.",
        "found by the simulation while the queue was written",
        (f"{_SHARING}::test_session_whose_lease_is_over_is_not_used_for_the_next_candidate",),
        ((SessionKeeper, "can_enter", whatever_the_lease),),
        "default",
    ),
    Mutant(
        "turn is not passed on",
        "A candidate that stops, backs off or loses its session keeps its turn: the others wait without end.",
        "locks that a waiting thread leaves without a hand-over",
        (f"{_MACHINE}::test_candidate_whose_program_is_asked_gives_its_turn_back",),
        ((CandidateStateMachine, "_check_turn", nothing),),
        "default",
    ),
    Mutant(
        "turn is passed on before the withdrawal is confirmed",
        "The next candidate of the process enters with the session that still has a claim.",
        "releases that do not wait for the answer",
        (f"{_MACHINE}::test_turn_is_given_back_when_the_withdrawal_is_confirmed",),
        ((CandidateStateMachine, "_withdraw", before_the_answer),),
        "default",
    ),
    Mutant(
        "turn is kept while not ready",
        "A candidate whose program is not ready keeps the others of its process from the election.",
        "queues that do not ask for readiness",
        (f"{_MACHINE}::test_candidate_whose_program_is_asked_gives_its_turn_back",),
        ((state_machine, "_WITHOUT_TURN", without_checking),),
    ),
    Mutant(
        "newest candidate has the next turn",
        "A candidate of a busy key waits without end, because later ones get the turn before it.",
        "thread pools and locks that wake the last one",
        (f"{_QUEUE}::test_turn_goes_from_one_to_the_next_in_order",
         f"{_SHARING}::test_candidates_of_a_key_lead_in_the_order_in_which_they_have_started"),
        ((KeyQueues, "join", newest_first),),
    ),
    Mutant(
        "answer is not passed on to the waiting candidates",
        "A candidate that waits in the process is taken for one that the store has not answered.",
        "an attempt that cannot tell a held lock from an outage",
        (f"{_SHARING}::test_candidate_that_waits_in_the_process_is_answered_without_a_request",),
        ((KeyQueues, "notify_waiting", nothing),),
    ),
]  # fmt: skip
