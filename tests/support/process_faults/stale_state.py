"""Candidates that act as leader after a loss, like programs with a cached flag."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from leadership_core import Candidate
from leadership_core.term import Term

if TYPE_CHECKING:
    from tests.support.worker import WorkerContext


def stubborn(how: str) -> Callable[[WorkerContext], None]:
    """Act as leader of the first term for that many seconds, even after its loss."""
    seconds = float(how)

    def play(_: WorkerContext) -> None:
        current: Callable[[Candidate], Term | None] = vars(Candidate)["term"].fget
        first: list[tuple[Term, float]] = []

        def term(self: Candidate) -> Term | None:
            if not first and (found := current(self)) is not None:
                first.append((found, time.monotonic()))
            if first and time.monotonic() - first[0][1] < seconds:
                return first[0][0]
            return current(self)

        Candidate.term = property(term)  # type: ignore[assignment]
        Candidate.is_leader = property(lambda self: term(self) is not None)  # type: ignore[assignment]

    return play
