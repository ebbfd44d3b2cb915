"""A claim in a race on etcd, and how it looks there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leadership_core.store import Claim

from .messages import encode

if TYPE_CHECKING:
    from .turn import Turn

__all__ = ["EtcdClaim", "is_claim", "names_claim"]


_LEASE = re.compile(rb"[1-9a-f][0-9a-f]{0,15}")


@dataclass(eq=False)
class EtcdClaim(Claim):
    """A claim; its token is the create revision of its key, also while it waits.

    Attributes:
        turn: what watches over it, once somebody wants to know.
        leads: it was the first when somebody asked; it stays that as long as it stands.
        withdrawn: it was confirmed that it is out of the race.
    """

    turn: Turn | None = None
    leads: bool = False
    withdrawn: bool = False

    @property
    def lease(self) -> int:
        return int(self.session.id, 16)

    @property
    def own(self) -> bytes:
        """Its key: that of the election, and the lease."""
        return encode(f"{self.key}/{self.session.id}")

    @classmethod
    def of(cls, claim: Claim) -> EtcdClaim:
        if not isinstance(claim, cls):
            raise TypeError(f"not a claim of an etcd election: {claim!r}")
        return claim

    def is_intact(self, kv: Any) -> bool:
        """Whether its key is there as it was made: nobody has written it since."""
        as_made = (self.token, self.token, self.lease)
        return bool((kv.create_revision, kv.mod_revision, kv.lease) == as_made)


def is_claim(key: str, kv: Any) -> bool:
    """Whether something below an election's key is a candidate's claim.

    It is named after the lease that it is bound to, in the way of etcd's own clients. What is
    named otherwise belongs to somebody else, an election below this one, for example; what is
    bound to no lease was written by hand and would stay for ever.
    """
    name = kv.key[len(encode(key)) + 1 :]
    return bool(kv.lease and name == b"%x" % kv.lease)


def names_claim(key: str, name: bytes) -> bool:
    """Whether a key below an election's may be a claim, by its name alone.

    For where nothing else of it is known for certain, and it is read before it counts.
    """
    return _LEASE.fullmatch(name[len(encode(key)) + 1 :]) is not None
