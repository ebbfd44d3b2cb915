"""One watch of a Lease, or of all Leases, and what it reports."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from leadership_core.backend import StoreUnavailable, WatchDelivery

from .lease import Lease

__all__ = ["State", "Subscription"]


@dataclass(frozen=True, slots=True)
class State:
    """A report to a subscriber.

    Attributes:
        lease: as it is; None if there is none; or the error if the store cannot be reached.
        is_free: whether it has no holder, or one that was observed to be silent for its duration.
        after_outage: whether reports may be missing before this one.
    """

    lease: Lease | StoreUnavailable | None
    is_free: bool = False
    after_outage: bool = False


class Subscription:
    """One watch: of the Lease of a name, or of all Leases with our label."""

    def __init__(
        self, name: str | None, delivery: WatchDelivery[State] | WatchDelivery[Collection[Lease]]
    ) -> None:
        self.name = name
        self.delivery = delivery
        self.confirmed: int | None = None  # the version that was reported as silent
