"""A claim in a race on Consul."""

from __future__ import annotations

from dataclasses import dataclass

from leadership_core.store import Claim, Leader

from .client import Record

__all__ = ["LOCK_FLAG", "SEMAPHORE_FLAG", "ConsulClaim", "leader_of"]

LOCK_FLAG = 0x2DDCCBC058A50C18
"""How Consul's clients mark the key of a lock; they refuse one that is marked otherwise."""
SEMAPHORE_FLAG = 0xE0F69A2BAA414DE0
"""How they mark the key of a semaphore."""


@dataclass(eq=False)
class ConsulClaim(Claim):
    """A claim, and what its request to enter said of the key.

    Attributes:
        guard: the index that the key had; a copy of the request takes effect on no other.
        withdrawn: it was confirmed that the claim is out of the race.
        doubted: the store has said that it does not stand, or it was withdrawn before.
        watched: somebody waits to be told of its turn, and is told of all that changes.
        vacancy: the key as its watch has seen it last, if nobody held it then.
        first: a user has just started its candidate: the first question does not wait for the pace.
    """

    guard: int | None = None
    withdrawn: bool = False
    doubted: bool = False
    watched: bool = False
    vacancy: Record | None = None
    first: bool = False

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


def leader_of(record: Record | None) -> Leader | None:
    """Who leads, with the key as it is."""
    # Without a session it is what the last one has left behind. A write by hand, over a lock that
    # stands, sets the count of locks back to 0: that is nobody's claim.
    if record is None or record.session is None or record.locked == 0:
        return None
    return Leader.of(record.value, record.modified)
