"""Access to the engine's objects behind those of the user API."""

from __future__ import annotations

import threading

from leadership_core import Candidate, Follower, Store, Term
from leadership_core.engine.candidate_control import CandidateControl
from leadership_core.engine.follower_control import FollowerControl
from leadership_core.engine.lease import Lease
from leadership_core.engine.open_store import open_stores
from leadership_core.engine.store_base import internals
from leadership_core.term import TermState

__all__ = [
    "candidate_control",
    "follower_control",
    "lease_of",
    "let_go",
    "product_threads",
    "term_state",
]


def candidate_control(candidate: Candidate) -> CandidateControl:
    """Return the control of a candidate, with its `state` and its `debug_state()`."""
    return candidate._control


def follower_control(follower: Follower) -> FollowerControl:
    """Return the control of a follower, with its `state` and its `debug_state()`."""
    return follower._control


def term_state(term: Term) -> TermState:
    """Return the state of a term, with its lease."""
    return term._state


def lease_of(term: Term) -> Lease:
    """Return the lease that limits a term."""
    lease = term._state.lease
    assert isinstance(lease, Lease)
    return lease


def let_go(store: Store) -> None:
    """Let neither the exit of this process nor a collection of the store close it.

    A simulated process that is killed never closes its store. Its finalizer would refer to its
    running candidates, and with them to the store itself, until this process ends.
    """
    opened = internals(store)
    open_stores.discard(opened)
    opened._finalizer.detach()


def product_threads() -> set[threading.Thread]:
    """Return the threads of all open stores in this process."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("leadership-")}
