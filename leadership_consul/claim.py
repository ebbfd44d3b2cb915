"""A claim in a race on Consul."""

from __future__ import annotations

from dataclasses import dataclass

from leadership_core.store import Claim

from .client import Record

__all__ = ["ConsulClaim"]


@dataclass(eq=False)
class ConsulClaim(Claim):
    """A claim, and what its request to enter said of the key.

    Attributes:
        guard: the index that the key had; a copy of the request takes effect on no other.
        withdrawn: it was confirmed that the claim is out of the race.
        doubted: the store has said that it does not stand, or it was withdrawn before.
    """

    guard: int | None = None
    withdrawn: bool = False
    doubted: bool = False

    @classmethod
    def of(cls, claim: Claim) -> ConsulClaim:
        if not isinstance(claim, cls):
            raise TypeError(f"not a claim of a Consul election: {claim!r}")
        return claim

    def may_have_turned(self, record: Record | None) -> bool:
        """Whether its standing may be another one than it was, with the key as it is now."""
        if record is None or record.session is None:
            return True
        mine = record.session == self.session.id
        if self.token is None:
            return mine
        return not mine or record.modified != self.token
