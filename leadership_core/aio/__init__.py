"""Leader election for programs on asyncio: the names of `leadership_core` whose calls would block.

    from leadership_core.aio import Candidate, Follower, open_store

Values, events and errors are those of `leadership_core`, except for `Elected`, whose term is awaited.
"""

from __future__ import annotations

from .candidate import Candidate
from .follower import Follower
from .lock import Lock
from .session import Session
from .store import Store, open_store
from .term import CandidateEvent, Elected, Term
from .watch import Watch

__all__ = [
    "Candidate",
    "CandidateEvent",
    "Elected",
    "Follower",
    "Lock",
    "Session",
    "Store",
    "Term",
    "Watch",
    "open_store",
]
