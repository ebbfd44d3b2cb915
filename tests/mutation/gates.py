"""Mutants of the gates and callbacks of a program."""

from __future__ import annotations

from typing import Any

from leadership_core.engine.callbacks import Callbacks
from leadership_core.engine.messages import Phase
from leadership_core.engine.state_machine import CandidateStateMachine
from leadership_core.engine.watchdog import Watchdog
from leadership_core.term import TermState

from .mutant import Mutant, nothing

__all__ = ["MUTANTS"]

_STATE_MACHINE = "tests/unit/test_state_machine.py"
_STATE_MACHINE_GATES = "tests/unit/test_state_machine_gates.py"
_GATES = "tests/unit/test_gates.py"
_WATCHDOG = "tests/unit/test_watchdog.py"
_LISTENERS = "tests/unit/test_listeners.py"
_WORKING = "tests/unit/test_working.py"


def leader_stays(reported: Any) -> Any:
    """A leader does not listen to the program that is not ready."""

    def mutant(self: Any, ready: bool) -> None:
        if self.phase is not Phase.LEADING:
            reported(self, ready)

    return mutant


def claims_anyway(entered: Any) -> Any:
    """A claim that was being made when the program stopped being ready is kept."""

    def mutant(self: Any, ticket: int, claim: Any) -> None:
        self._ready = True
        entered(self, ticket, claim)

    return mutant


def uncounted(begin_work: Any) -> Any:
    """Blocks do not hold back the release."""

    def mutant(self: Any, worker: object) -> bool:
        begin_work(self, worker)
        self._workers.pop(worker, None)
        return bool(self.is_valid())

    return mutant


def one_for_all(begin_work: Any) -> Any:
    """The end of the first block is taken for the end of all."""
    return lambda self, worker: begin_work(self, "work")


def one_ends_all(end_work: Any) -> Any:
    return lambda self, worker: end_work(self, "work")


def from_the_beginning(live_on: Any) -> Any:
    """The watchdog compares the time with the beginning of the term only."""
    return nothing(live_on)


def dies_of_an_exception(_: Any) -> Any:
    """An exception of a callback is the end of its thread."""

    def mutant(self: Any, call: Any) -> None:
        try:
            call.function(call.argument)
        except BaseException:  # noqa: BLE001 - as the mistake does
            self._listeners.clear()

    return mutant


def swapped(make: Any) -> Any:
    """Of two calls the second one comes first."""

    def mutant(self: Any, call: Any) -> None:
        held = vars(self).pop("_held_call", None)
        if held is None and getattr(call.argument, "name", "") == "elected":
            self._held_call = call
            return
        make(self, call)
        if held is not None:
            make(self, held)

    return mutant


MUTANTS = [
    Mutant(
        "readiness is ignored while leading",
        "A leader whose program cannot work any more goes on to lead.",
        "client-go's health check adaptor stops the process, and leaders without it lead on",
        (f"{_STATE_MACHINE_GATES}::test_leader_that_is_not_ready_resigns",),
        ((CandidateStateMachine, "_readiness_reported", leader_stays),),
        "default",
    ),
    Mutant(
        "readiness is ignored while a claim is made",
        "A program that has stopped being ready is elected all the same.",
        "checks before the election only",
        (f"{_STATE_MACHINE_GATES}::test_candidate_that_stops_being_ready_before_it_has_a_claim",),
        ((CandidateStateMachine, "_entered", claims_anyway),),
    ),
    Mutant(
        "release before the working block has ended",
        "The claim is withdrawn while a block still works, so the next leader works beside it.",
        "client-go's ReleaseOnCancel (kubernetes 139991)",
        (f"{_WORKING}::test_release_waits_for_the_last_block",),
        ((TermState, "begin_work", uncounted),),
    ),
    Mutant(
        "release when the first of several blocks has ended",
        "The work is counted by its thread or its name, and the first end is taken for the last.",
        "reference counts that were flags",
        (f"{_WORKING}::test_release_waits_for_the_last_block",),
        ((TermState, "begin_work", one_for_all), (TermState, "end_work", one_ends_all)),
    ),
    Mutant(
        "watchdog counts from the beginning of the term only",
        "Each term ends after that time, although its work gives signs of life.",
        "time limits that are taken for watchdogs",
        (f"{_WATCHDOG}::test_signs_of_life_keep_the_term",),
        ((TermState, "live_on", from_the_beginning),),
        "default",
    ),
    Mutant(
        "watchdog never barks",
        "A deadlocked program leads as long as its threads renew.",
        "every library that renews in the background",
        (f"{_WATCHDOG}::test_pause_of_the_process_gives_the_work_its_time_once_more",),
        ((Watchdog, "_look", nothing),),
        "default",
    ),
    Mutant(
        "an exception of a callback ends the callbacks",
        "The first mistake in a callback is the last event that the program gets.",
        "kazoo's handlers, Curator 1.x listeners",
        (f"{_LISTENERS}::test_callback_that_raises_is_logged_and_changes_nothing",),
        ((Callbacks, "_make", dies_of_an_exception),),
        slow=True,
    ),
    Mutant(
        "callbacks out of order",
        "The program gets the end of a term before its beginning.",
        "pools of threads that run callbacks",
        (f"{_LISTENERS}::test_events_wait_for_a_slow_callback_in_order",),
        ((Callbacks, "_make", swapped),),
        "default",
    ),
]  # fmt: skip
