"""An election on PostgreSQL: a claim that is taken over by compare-and-set, and expiry by observation.

All rules are those of `leadership_core.backend.ObservedElection`. Tokens are the revisions of the claim.
"""

from __future__ import annotations

from leadership_core.backend import ObservedElection, StoreBackend

from .session import Heartbeats

__all__ = ["PostgresElection"]


class PostgresElection(ObservedElection):
    """An election; thread-safe. See `leadership_core.backend.Election`.

    Args:
        store: the store.
        key: with the prefix.
        heartbeats: of the store.
    """

    def __init__(self, store: StoreBackend, key: str, heartbeats: Heartbeats) -> None:
        super().__init__(store, key, heartbeats)
