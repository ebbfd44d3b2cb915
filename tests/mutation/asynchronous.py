"""Mutants of programs on asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

from leadership_core.aio.term_work import TermWork
from leadership_core.backend.event_count import EventCount
from leadership_core.term import TermState

from .mutant import Mutant, nothing

__all__ = ["MUTANTS"]

_CANCELLATION = "tests/unit/aio/test_cancellation.py"
_LOOPS = "tests/unit/aio/test_event_loops.py"


def stays_cancelled(end: Any) -> Any:
    """End the block as the body has ended: the loss looks like a cancellation from outside."""

    def mutant(self: Any, error: Any) -> Any:
        lost = end(self, error)
        return None if isinstance(error, asyncio.CancelledError) else lost

    return mutant


def takes_every_cancellation(end: Any) -> Any:
    """Take each cancellation after a loss for one's own."""

    def mutant(self: Any, error: Any) -> Any:
        self._cancelling = 1_000_000
        return end(self, error)

    return mutant


def never_uncancels(end: Any) -> Any:
    def mutant(self: Any, error: Any) -> Any:
        task, self._cancelled = self._task, False
        lost = end(self, error)
        if isinstance(error, asyncio.CancelledError) and task().cancelling() == 1:
            return lost or self.control.loss_of(self.current)
        return lost

    return mutant


def unless_a_task(begin_work: Any) -> Any:
    """Count no work of a task, so that the claim is withdrawn before its body has ended."""

    def mutant(self: Any, worker: object) -> bool:
        return self.is_valid() if isinstance(worker, TermWork) else bool(begin_work(self, worker))

    return mutant


MUTANTS = [
    Mutant(
        "loss as a cancellation",
        "A task that loses leadership ends as if it had been cancelled: its group goes on without it.",
        "kubernetes_asyncio (cancels the work)",
        (f"{_CANCELLATION}::test_loss_cancels_the_body_and_raises_leadership_lost",
         f"{_CANCELLATION}::test_block_inside_a_task_group_fails_the_group"),
        ((TermWork, "end", stays_cancelled),),
    ),
    Mutant(
        "cancellation as a loss",
        "A cancellation from outside that comes with a loss is swallowed: timeouts and groups wait without end.",
        "asyncio.wait_for before Python 3.12 (bpo-37658)",
        (f"{_CANCELLATION}::test_cancellation_from_outside_wins_over_the_loss",),
        ((TermWork, "end", takes_every_cancellation),),
    ),
    Mutant(
        "request to cancel is not taken back",
        "The task counts as being cancelled from then on: the next asyncio.timeout does not work.",
        "asyncio.TaskGroup of Python 3.11 and 3.12, where it fails while it is awaited",
        (f"{_CANCELLATION}::test_loss_cancels_the_body_and_raises_leadership_lost",),
        ((TermWork, "end", never_uncancels),),
    ),
    Mutant(
        "release before the end of a coroutine",
        "The next leader is elected while the cancelled body of the last one still cleans up.",
        "kubernetes_asyncio (cancels the work and does not await it)",
        (f"{_LOOPS}::test_body_keeps_the_claim_until_it_has_ended",),
        ((TermState, "begin_work", unless_a_task),),
    ),
    Mutant(
        "notification does not wake the loop",
        "A loss is noticed when the loop wakes for another reason, which may be never.",
        "asyncio programs that call loop.call_soon from another thread",
        (f"{_LOOPS}::test_notification_reaches_a_loop_that_sleeps",),
        ((EventCount, "subscribe", nothing),),
    ),
]  # fmt: skip
