"""The election of one key: that of the core by observation, on the script's compare-and-set.

It needs no code of its own, because each step of it is one conditional write: the claim is an entry
beside the election's key (`leadership_core.backend.claim_key`), and its revision is the token.
"""

from __future__ import annotations

from leadership_core.backend import ObservedElection, StoreBackend, observed_within

from .session import Sessions

__all__ = ["election_of", "expires_within"]


def election_of(store: StoreBackend, key: str, sessions: Sessions) -> ObservedElection:
    """Make the election of a key; sends no request.

    Args:
        store: with the claim among its entries.
        key: of the election.
        sessions: of the store; one object for all elections, which share its observation.
    """
    return ObservedElection(store, key, sessions)


def expires_within(ttl: float) -> float:
    """Seconds after its last renewal within which a silent session is over.

    That is longer than the entries of the session last, which end by the server's clock.
    """
    return observed_within(ttl)
