"""The latest claims in one election: one for each session that has entered it."""

from __future__ import annotations

from contextlib import suppress
from typing import Generic, TypeVar
from weakref import ref

from .protocols import Claim, Session

__all__ = ["LatestClaims"]

ClaimT = TypeVar("ClaimT", bound=Claim)


class LatestClaims(Generic[ClaimT]):
    """The claim that each session has entered last, as long as anything else refers to it; thread-safe.

    Most elections have one claim in a process, and there may be ten thousand of them, so this is a list:
    a `WeakValueDictionary` would be a tenth of an election's memory. A session enters one claim at a time.
    """

    __slots__ = ("_claims",)

    def __init__(self) -> None:
        self._claims: list[ref[ClaimT]] = []  # changed by single operations only

    def note(self, claim: ClaimT) -> None:
        """Note that this is the latest claim of its session."""
        for reference in tuple(self._claims):
            known = reference()
            if known is None or id_of(known.session) == id_of(claim.session):
                with suppress(ValueError):  # another thread has removed it
                    self._claims.remove(reference)
        self._claims.append(ref(claim))

    def of(self, session: Session) -> ClaimT | None:
        """Return the latest claim of the session, if it still exists."""
        for reference in tuple(self._claims):
            claim = reference()
            if claim is not None and id_of(claim.session) == id_of(session):
                return claim
        return None


def id_of(session: Session) -> object:
    """Return what identifies the session: a plugin's session may be its own id."""
    return getattr(session, "id", session)
