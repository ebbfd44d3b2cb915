"""Mistakes about forked children."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from leadership_core.engine.engine import Engine
from leadership_core.errors import LeadershipError
from leadership_core.internals import StoreInternals

from .mutant import Mutant, nothing

__all__ = ["MUTANTS"]


def cleans_up(end_in_child: Any) -> Any:
    def mutant(self: Any) -> None:
        for leased in list(self.sessions.all):
            # The session of every store is inert there, too: the mistake is not to know of the fork.
            leased.session._process_of_owner = os.getpid()
            with contextlib.suppress(LeadershipError):
                leased.session.close()
        end_in_child(self)

    return mutant


MUTANTS = [
    Mutant(
        "a session is shared across forks",
        "The child has its parent's session and its parent's belief: two leaders in one machine.",
        "kazoo (519, 554), python-etcd3 over gRPC (grpc 12455)",
        ("tests/core/test_forks.py::test_child_is_not_leader_and_touches_nothing[memory]",),
        ((StoreInternals, "end_in_child", nothing),),
    ),
    Mutant(
        "a child of fork cleans up",
        "It closes what it has inherited, and that is its parent's session.",
        "clients that release in __del__ or atexit, as sherlock",
        ("tests/scenarios/test_forks.py::test_forked_children[consul]",),
        ((Engine, "end_in_child", cleans_up),),
    ),
]
