"""What the engine tells of a candidate, and whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..events import CandidateEvent, Lost, Resigned
from ..lease import Lease

__all__ = ["Front"]


class Front(Protocol):
    """What the user holds, as its runner knows it; called in the scheduler's thread."""

    def begin_term(self, token: int, lease: Lease, renew: Callable[[float, float], None]) -> None:
        """A term begins now; queue `Elected`. `renew` is `LeasedSession.renew_now`."""

    @property
    def working(self) -> bool:
        """Whether work of a term is going on."""

    def end_term(self, event: Lost | Resigned) -> bool:
        """The term ends now; queue the event. True if work of it is still going on."""

    def tell(self, event: CandidateEvent) -> None:
        """Queue the event."""

    def fail(self, error: Exception) -> None:
        """It cannot go on; the user gets the error."""

    def released(self, token: int | None, confirmed: bool) -> None:
        """The claim with that token is gone, or left to the end of its session for good."""

    def changed(self) -> None:
        """The phase has changed, or what may be left at the store."""
