"""Observed expiry of Leases: since when this process has seen each one unchanged.

No wall clock counts, neither that of the server nor the times in a Lease. See docs/guarantees.md.
"""

from __future__ import annotations

from math import inf

from leadership_core.backend import Heartbeat, ObservedExpiry, clock

from .lease import Lease

__all__ = ["Observations"]


class Observations:
    """When each version of a Lease was first seen, on our own clock; thread-safe.

    A version is one write: the server gives no version twice, so a Lease with the same version was
    not renewed in between.
    """

    def __init__(self) -> None:
        self._expiry = ObservedExpiry()

    def note(self, lease: Lease, *, sent: float = -inf) -> None:
        """Note the state of a Lease in an answer that has just arrived.

        Args:
            lease: the state.
            sent: when the request was sent, on `clock.now`; unknown for an event of a watch.
        """
        beat = Heartbeat(lease.name, lease.duration, lease.version)
        self._expiry.note(beat, sent=sent, answered=clock.now())

    def expires_at(self, lease: Lease) -> float:
        """When its holder may be replaced unless it changes, on `clock.now`.

        If another version was seen meanwhile, it is that of the other one.
        """
        return self._expiry.due(lease.name)

    def is_silent(self, lease: Lease) -> bool:
        """Whether its holder was silent for its duration, by an answer that was requested after that."""
        return (
            lease.holder is not None
            and self._is_latest(lease)
            and self._expiry.is_silent(lease.name)
        )

    def is_free(self, lease: Lease) -> bool:
        """Whether a candidate may take it over, by a write that is refused if it has changed."""
        if lease.holder is None:
            return True
        return self._is_latest(lease) and self._expiry.may_end(lease.name, clock.now())

    def _is_latest(self, lease: Lease) -> bool:
        heartbeat = self._expiry.heartbeat(lease.name)
        return heartbeat is not None and heartbeat.beat == lease.version
