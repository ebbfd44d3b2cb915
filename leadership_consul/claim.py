"""A claim in an election on Consul."""

from __future__ import annotations

from dataclasses import dataclass

from leadership_core.backend import Claim, Leader

from .client import KeyValue

__all__ = ["LOCK_FLAG", "SEMAPHORE_FLAG", "ConsulClaim", "leader_of"]

LOCK_FLAG = 0x2DDCCBC058A50C18
"""The flags of a lock's key, as Consul's clients set them; they refuse a key with others."""
SEMAPHORE_FLAG = 0xE0F69A2BAA414DE0
"""The flags of a semaphore's key, as Consul's clients set them."""


@dataclass(eq=False)
class ConsulClaim(Claim):
    """A claim, with what was seen of its key.

    Attributes:
        guard: modify index of the key in the request to lock it; the request, and any late copy of
            it, applies to the key with no other index.
        withdrawn: it was confirmed that nothing of the claim is in the election.
        doubted: the store has said that the claim does not lead, or `withdraw` was called.
        watched: a watch wakes the candidate whenever the key changes.
        unlocked: the key as its watch has seen it last, if it was not locked then.
        woken: the watch has woken the candidate before.
        held: after that, the watch has last shown the key locked by another session.
        fresh: the lock was granted, and its watch has not reported another state since.
        prepaid_polls: how many polls the rate limit does not delay, so that a leader learns of the
            loss of its claim at once.
        first: a user has just started the candidate, so its first status query is not delayed by
            the rate limit.
    """

    guard: int | None = None
    withdrawn: bool = False
    doubted: bool = False
    watched: bool = False
    unlocked: KeyValue | None = None
    woken: bool = False
    held: bool = False
    fresh: bool = False
    prepaid_polls: int = 0
    first: bool = False

    @classmethod
    def of(cls, claim: Claim) -> ConsulClaim:
        """Return the claim; raises TypeError if it is not one of Consul's."""
        if not isinstance(claim, cls):
            raise TypeError(f"not a claim of a Consul election: {claim!r}")
        return claim

    def status_may_differ(self, pair: KeyValue | None) -> bool:
        """Whether the claim's status may have changed, with the key as it is now."""
        if pair is None or pair.session is None:
            return True
        mine = pair.session == self.session.id
        if self.token is None:
            return mine
        return not mine or pair.modify_index != self.token

    def replaces(self, pair: KeyValue | None) -> bool:
        """Whether the lock that was granted just now has replaced that state of the key."""
        return self.fresh and pair is not None and pair.modify_index == self.guard


def leader_of(pair: KeyValue | None) -> Leader | None:
    """The leader, with the key as it is; None if there is none."""
    # A key without a session has the value of the last leader. A write without the lock, over a
    # key that is locked, sets the lock index back to 0: no claim has written it.
    if pair is None or pair.session is None or pair.lock_index == 0:
        return None
    return Leader.of(pair.value, pair.modify_index)
