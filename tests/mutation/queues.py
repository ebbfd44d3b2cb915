"""Mutants of the queue in which the candidates of one process wait for a key."""

from __future__ import annotations

from typing import Any

from leadership_core.engine import state_machine
from leadership_core.engine.key_queue import KeyQueues
from leadership_core.engine.messages import Phase
from leadership_core.engine.second_session import SecondSession
from leadership_core.engine.session_keeper import SessionKeeper
from leadership_core.engine.state_machine import CandidateStateMachine

from .mutant import Mutant, always, nothing

__all__ = ["MUTANTS"]

_SHARING = "tests/unit/test_sharing.py"
_QUEUE = "tests/unit/test_key_queue.py"
_SECOND = "tests/unit/test_second_place.py"
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


def whoever_follows(_: Any) -> Any:
    """The second place is given away while it is taken."""

    def mutant(self: Any, key: str) -> bool:
        first = self._turns.get(key)
        return first is not None and first.may_be_followed and key in self._waiting

    return mutant


def before_the_election(_: Any) -> Any:
    """The second place is given away while the first candidate has not led, or leads no more."""

    def mutant(self: Any, key: str) -> bool:
        return key in self._turns and key in self._waiting and key not in self._seconds

    return mutant


def second_stays(leave: Any) -> Any:
    """A candidate that leaves keeps the second place."""

    def mutant(self: Any, user: Any, place: int) -> None:
        if self._seconds.get(user.key) is not user:
            leave(self, user, place)

    return mutant


def passed_on_to_the_third(leave: Any) -> Any:
    """When the first leaves, the turn goes to one that waits, although the second has it."""

    def mutant(self: Any, user: Any, place: int) -> None:
        if self._turns.get(user.key) is user:
            del self._turns[user.key]
            self._pass_on(user.key)
        else:
            leave(self, user, place)

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
    Mutant(
        "three candidates of a process have claims",
        "The second place is given away again and again, so each waiting candidate has a claim at the store.",
        "pools of locks with a claim for each thread",
        (f"{_QUEUE}::test_next_candidate_gets_the_second_place_once_the_first_leads",),
        ((KeyQueues, "_has_free_second", whoever_follows),),
        "etcd",
    ),
    Mutant(
        "second claim is made with the leader's session",
        "On etcd both candidates have one key, and the later one takes the earlier one's away.",
        "etcd's concurrency.Mutex (two of one session)",
        (f"{_SECOND}::test_next_candidate_waits_at_the_store_with_another_session",),
        ((KeyQueues, "beside", always(value=None)),),
        "etcd",
    ),
    Mutant(
        "second claim is made before the first candidate leads",
        "The two enter at the same time, so the later one may be elected first; and a process that only waits has two claims.",
        "found while the second place was designed",
        (f"{_QUEUE}::test_second_place_is_not_given_when_the_first_leads_no_more",),
        ((KeyQueues, "_has_free_second", before_the_election),),
    ),
    Mutant(
        "second place is not given back",
        "A candidate that has left is the first when the leader leaves: the others wait without end.",
        "locks that a waiting thread leaves without a hand-over",
        (f"{_QUEUE}::test_second_place_goes_to_the_next_when_its_candidate_leaves",),
        ((KeyQueues, "leave", second_stays),),
        "etcd",
    ),
    Mutant(
        "turn is passed on twice",
        "When the leader leaves, the third candidate enters beside the second one before that is elected.",
        "found while the second place was designed",
        (f"{_QUEUE}::test_second_candidate_is_the_first_when_that_has_left",),
        ((KeyQueues, "leave", passed_on_to_the_third),),
    ),
    Mutant(
        "second session is kept without need",
        "A process keeps two sessions at the store, with a thread and a connection each, although no key needs the second.",
        "pools that never shrink",
        (f"{_SECOND}::test_second_session_that_no_candidate_uses_is_given_up",),
        ((SecondSession, "_check_use", nothing),),
    ),
]  # fmt: skip
