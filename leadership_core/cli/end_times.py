"""Times at which a child process is asked to end and killed, so that it is dead before its lease ends.

    renewal sent                    next renewal due     asked             killed   deadline   end of the lease
    │◄────────── ttl / 3 ──────────►│◄──── ttl / 6 ────►│◄──── grace ────►│◄ ttl/30 ►│◄─ margin ─►│

No clock is read here, and all times are in seconds.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EndTimes", "end_times", "longest_grace"]

_RENEWAL = 1 / 3 + 1 / 6  # of the ttl: until the next renewal, and what a slow one takes
_RESERVE = 1 / 30  # of the ttl: between SIGKILL and the deadline


class EndTimes(NamedTuple):
    """Times of the boot clock.

    Attributes:
        terminate_at: when the child is asked to end.
        kill_at: when it is killed.
        deadline: when the leader stops to lead; the lease ends a margin later.
    """

    terminate_at: float
    kill_at: float
    deadline: float


def longest_grace(ttl: float, max_validity: float) -> float:
    """Return how long a child may take to end when the store does not answer.

    With more it would be asked to end while the next renewal is still in time.

    Args:
        ttl: seconds, in force.
        max_validity: seconds that are left right after a renewal: the ttl less the margin.
    """
    return max_validity - ttl * (_RENEWAL + _RESERVE)


def end_times(deadline: float, ttl: float, max_validity: float, grace: float) -> EndTimes:
    """Return the times that follow from a deadline.

    Args:
        deadline: time of the boot clock at which the leader stops to lead.
        ttl: seconds, in force.
        max_validity: seconds that are left right after a renewal.
        grace: seconds that the child should have; it gets `longest_grace` at most.
    """
    kill_at = deadline - ttl * _RESERVE
    return EndTimes(kill_at - min(grace, longest_grace(ttl, max_validity)), kill_at, deadline)
