"""Announcements of a candidate: its events about the campaign and the store, each made once."""

from __future__ import annotations

from collections.abc import Callable

from .. import events
from ..errors import StoreUnavailable
from ..events import CandidateEvent
from .reachability import Reachability, Way

__all__ = ["Announcements"]


_CAMPAIGNING = events.Campaigning()


class Announcements(Reachability):
    """Decides which events are new to the user.

    It is the reachability of the store, too, since there are as many as candidates.

    Args:
        emit: called with those.
    """

    __slots__ = ("_announced", "_emit", "_suspended")

    def __init__(self, emit: Callable[[CandidateEvent], None]) -> None:
        super().__init__()
        self._emit = emit
        self._announced = False
        self._suspended = False

    def campaigning(self) -> None:
        """It stands for election: announced once after each term."""
        if not self._announced:
            self._announced = True
            self._emit(_CAMPAIGNING)

    def end_term(self) -> None:
        """A term has ended."""
        self._announced = self._suspended = False

    def suspended(self, remaining: float) -> None:
        """A leader's renewal has failed; the term lasts for so many seconds more."""
        if not self._suspended:
            self._suspended = True
            self._emit(events.Suspended(remaining))

    def resumed(self) -> None:
        """A leader's renewal was acknowledged."""
        if self._suspended:
            self._suspended = False
            self._emit(events.Resumed())

    def store_down(self, way: Way, error: StoreUnavailable) -> None:
        """A request has got no usable answer."""
        if self.note_failure(way):
            self._emit(events.StoreDown(error))

    def store_up(self, way: Way) -> None:
        """A request was answered."""
        if self.note_answer(way):
            self._emit(events.StoreUp())
