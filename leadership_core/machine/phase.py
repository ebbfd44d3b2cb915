"""Where a candidate is."""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["Phase"]


class Phase(Enum):
    """Where a candidate is; see `campaign` for the ways between."""

    IDLE = auto()  # not standing
    JOINING = auto()  # waits for a session
    RESTING = auto()  # waits for a time: a cooldown, a retry
    ENTERING = auto()  # the request that makes a claim is under way
    WAITING = auto()  # has a claim, and does not lead
    LEADING = auto()  # believes
    DRAINING = auto()  # believes no longer; work that the library runs may still be going on
    WITHDRAWING = auto()  # the request that takes the claim away is under way
    STOPPED = auto()  # for good
