"""Hears of changes to one candidate's claim, and passes them on in the scheduler's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, StoreError
from ..store import Claim, Closable, Election
from .calls import call

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["TurnWatch"]

_CLOSE_SECONDS = 5.0


class TurnWatch:
    """The watch of the latest claim; used in the scheduler's thread, but for `arm`.

    Args:
        engine: whose scheduler and threads to use.
        election: the race that the claims are in.
        turned: called in the scheduler's thread when a standing may have changed.
    """

    def __init__(self, engine: Engine, election: Election, turned: Callable[[], None]) -> None:
        self._engine = engine
        self._election = election
        self._turned = turned
        self._claim: Claim | None = None
        self._watch: Closable | None = None

    def turn_to(self, claim: Claim) -> bool:
        """Be interested in this claim; True if `arm` is to be called for it."""
        new = self._claim is not claim
        self._claim = claim
        return new

    def arm(self, claim: Claim, limit: float) -> None:
        """Begin to watch the claim; blocks for a request, so in any thread but the scheduler's.

        Raises:
            StoreError: there is no watch now; the next `turn_to` says so.
            ConfigurationError: likewise.
        """
        post = self._engine.scheduler.post
        try:
            watch = call(limit, lambda: self._election.on_turn(claim, _Wake(self, claim)))
        except (StoreError, ConfigurationError):
            post(lambda: self._not_armed(claim))
            raise
        post(lambda: self._armed(claim, watch))

    def drop(self) -> None:
        """Nothing is of interest any more."""
        watch, self._watch, self._claim = self._watch, None, None
        if watch is not None:
            self._close(watch)

    def wake(self, claim: Claim) -> None:
        """The standing of the claim may have changed."""
        if self._claim is claim:
            self._turned()

    def post(self, task: Callable[[], None]) -> None:
        """Run the task in the scheduler's thread; from any thread."""
        self._engine.scheduler.post(task)

    def _armed(self, claim: Claim, watch: Closable) -> None:
        if self._claim is claim and self._watch is None:
            self._watch = watch
        else:
            self._close(watch)

    def _not_armed(self, claim: Claim) -> None:
        if self._claim is claim and self._watch is None:
            self._claim = None

    def _close(self, watch: Closable) -> None:
        self._engine.requests.submit(lambda: call(_CLOSE_SECONDS, watch.close))


class _Wake:
    """Tells the scheduler once, however often the store calls before it gets to it."""

    __slots__ = ("_claim", "_told", "_watch")

    def __init__(self, watch: TurnWatch, claim: Claim) -> None:
        self._watch = watch
        self._claim = claim
        self._told = False

    def __call__(self) -> None:
        if not self._told:
            self._told = True
            self._watch.post(self._turn)

    def _turn(self) -> None:
        self._told = False
        self._watch.wake(self._claim)
