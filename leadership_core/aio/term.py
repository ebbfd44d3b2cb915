"""Term of a candidate in asyncio, and the events that carry one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .. import events, term
from ..engine.candidate_state import CurrentTerm
from ..events import Campaigning, Lost, Resigned, Resumed, Stopped, StoreDown, StoreUp, Suspended
from .waiting import run

__all__ = ["CandidateEvent", "Elected", "Term", "asyncio_event", "asyncio_term"]


class Term(term.Term):
    """One period of leadership, from `Elected` to `Lost` or `Resigned`.

    As `leadership_core.Term`, but `ensure` and `wait_lost` are awaited. What does not block is
    called as there: `lost`, `remaining()`, `check()`, `fence`. Two objects for the same period
    are equal.

    Example:
        >>> async with candidate.leading() as term:
        ...     await term.ensure(5)
        ...     await store.put("service/state", b"ready", fence=term)
    """

    __slots__ = ()

    async def ensure(self, seconds: float) -> None:  # type: ignore[override]  # a coroutine here
        """Make sure that the term is valid for that long: renew now unless that much is left.

        Waits for one renewal, for a third of the ttl at most.

        Args:
            seconds: how long the work ahead takes; less than the ttl less the margin.

        Raises:
            LeadershipLost: the term is over.
            StoreUnavailable: no renewal was acknowledged in time; the term is still valid.
            ConfigurationError: a lease of this ttl is never valid for that long.
        """
        await run(self._ensuring(seconds))

    async def wait_lost(self, timeout: float | None = None) -> bool:  # type: ignore[override]  # a coroutine here
        """Wait until the term is over, or `timeout` seconds have passed (None: without a limit).

        Returns:
            Whether the term is over.

        Raises:
            ConfigurationError: the timeout is not a number of seconds, 0 or more.
        """
        return await run(self._waiting_lost(timeout))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and other._state is self._state

    def __hash__(self) -> int:
        return hash(self._state)


@dataclass(frozen=True, slots=True)
class Elected(events.Elected):
    """The candidate leads, for this term; a `leadership_core.Elected` whose term is awaited."""

    term: Term


CandidateEvent: TypeAlias = (
    Campaigning | Elected | Suspended | Resumed | Lost | Resigned | StoreDown | StoreUp | Stopped
)
"""The events of `Candidate.events`; a type checker can check a `match` over them for completeness."""


def asyncio_term(current: CurrentTerm) -> Term:
    """Return the term of the engine as one that is awaited."""
    return Term(current.state)


def asyncio_event(event: events.CandidateEvent) -> CandidateEvent:
    """Return the event of the engine as one whose term is awaited."""
    match event:
        case events.Elected(of):
            return Elected(Term(of._state))  # noqa: SLF001 - the same package: two faces of a term
        case _:
            return event
