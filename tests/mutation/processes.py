"""Mutants of forked children."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from leadership_core.engine.engine import Engine
from leadership_core.engine.open_store import OpenStore
from leadership_core.errors import LeadershipError

from .mutant import Mutant, nothing

__all__ = ["MUTANTS"]


def cleans_up(end_in_child: Any) -> Any:
    def mutant(self: Any) -> None:
        for leased in list(self.sessions.all):
            # The sessions of the stores are inert in a child, too, so make this one forget the fork.
            leased.session._process_of_owner = os.getpid()
            with contextlib.suppress(LeadershipError):
                leased.session.close()
        end_in_child(self)

    return mutant


MUTANTS = [
    Mutant(
        "session is shared with a forked child",
        "The child inherits its parent's session and term: two leaders on one machine.",
        "kazoo (519, 554), python-etcd3 over gRPC (grpc 12455)",
        ("tests/unit/test_forks.py::test_child_is_not_leader_and_touches_nothing[memory]",),
        ((OpenStore, "end_in_child", nothing),),
    ),
    Mutant(
        "forked child cleans up",
        "It closes the inherited session, which is its parent's.",
        "clients that release in __del__ or atexit, such as sherlock",
        ("tests/system/test_forks.py::test_forked_child_never_leads[consul]",),
        ((Engine, "end_in_child", cleans_up),),
    ),
]
