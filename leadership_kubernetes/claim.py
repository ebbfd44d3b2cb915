"""A claim in an election on a Lease, and how it is renewed and released."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from leadership_core.backend import Claim, StoreUnavailable

from .client import Client
from .errors import Conflicted
from .lease import Lease, new_identity
from .names import name_of

__all__ = ["KubernetesClaim"]

_MOST_CONFLICTS = 20  # in a row; each of them is a write of another program


@dataclass(eq=False)
class KubernetesClaim(Claim):
    """A claim, with what was seen of its Lease.

    Attributes:
        identity: its `holderIdentity`, which no other claim has.
        name: of the Lease.
        guard: resource version of the Lease that the request to acquire it replaces; that request,
            and any late copy of it, applies to no other version. It is the token, too.
        lease: the Lease as this claim has written it last.
        leaving: it is being released, and no more renewed.
        withdrawn: it was confirmed that nothing of the claim is in the election.
        wake: called when the status may have changed.
    """

    identity: str = ""
    name: str = ""
    guard: int | None = None
    lease: Lease | None = None
    leaving: bool = False
    withdrawn: bool = False
    wake: Callable[[], object] = field(default=lambda: None)

    def __post_init__(self) -> None:
        self.name = name_of(self.key)
        self.identity = new_identity(self.value, str(uuid.uuid4()))

    @classmethod
    def of(cls, claim: Claim) -> Self:
        """Return the claim; raises TypeError if it is not one of Kubernetes."""
        if not isinstance(claim, cls):
            raise TypeError(f"not a claim of a Kubernetes election: {claim!r}")
        return claim

    def holds(self, lease: Lease | None) -> bool:
        """Whether the Lease is held by this claim, and is that of its term."""
        if lease is None or lease.holder != self.identity:
            return False
        term = lease.term
        return term is not None and term.token == self.guard and term.holder == self.identity

    def renew(self, client: Client, ttl: int) -> bool:
        """Write a new renewal into the Lease; returns False if the claim does not hold it.

        Raises:
            StoreUnavailable: no answer, or too many writes of other programs.
        """
        lease = self.lease
        for _ in range(_MOST_CONFLICTS):
            if self.leaving:
                return True
            if lease is None or not self.holds(lease):
                return self.leaving  # another thread may have begun that meanwhile
            with suppress(Conflicted):
                self.lease = client.update(lease.renewed(ttl))
                return True
            # Another program has written a label, say; or the answer to our last renewal was lost.
            lease = client.read(self.name)
        raise StoreUnavailable(f"{self.name!r} changes faster than it can be renewed")

    def release(self, client: Client) -> None:
        """Leave the Lease without a holder, or without this claim; returns when that is confirmed.

        Raises:
            StoreUnavailable: no answer, or too many writes of other programs.
        """
        self.leaving = True
        lease = self.lease
        for _ in range(_MOST_CONFLICTS):
            if self.withdrawn:
                return
            if lease is None:
                lease = client.read(self.name)
            if lease is not None and lease.holder == self.identity:
                wanted = lease.released()
            elif not self.settled and lease is not None and lease.version == self.guard:
                # The request to acquire it may still arrive, and then meets another version.
                wanted = lease.touched()
            else:
                break  # no request of the claim applies to this version, nor to a later one
            try:
                client.update(wanted)
                break
            except Conflicted:
                lease = None
        else:
            raise StoreUnavailable(f"{self.name!r} changes faster than it can be released")
        self.withdrawn = self.settled = True
