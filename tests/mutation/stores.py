"""Mutants of the embedded stores: comparisons, fences, sessions of a database."""

from __future__ import annotations

import time
from typing import Any

from leadership_core import Fence
from leadership_core.backend.entries import Entry
from leadership_core.errors import Conflict, Fenced
from leadership_core.stores import sqlite
from leadership_core.stores.memory import state
from leadership_core.stores.memory.state import State
from leadership_core.stores.sqlite.database import Database
from leadership_core.stores.sqlite.transactions import Transaction

from .mutant import Mutant, always

__all__ = ["MUTANTS"]

_MEMORY = "tests/contract/test_memory.py::TestMemory"


def by_value(check: Any) -> Any:
    def mutant(key: str, current: Any, expect: Any) -> None:
        if not isinstance(expect, Entry) or current is None:
            check(key, current, expect)
        elif current.value != expect.value:
            raise Conflict(f"{key!r} has another value")

    return mutant


def accepts_older(check: Any) -> Any:
    def mutant(fence: Fence, claim: Any) -> None:
        if claim is None or claim.session is None or claim.revision < fence.token:
            raise Fenced("that term is over")

    return mutant


def accepts_any_token(check: Any) -> Any:
    """Any leader is good enough."""

    def mutant(fence: Fence, claim: Any) -> None:
        if claim is None or claim.session is None:
            raise Fenced("there is no leader")

    return mutant


def wall_clock(_: Any) -> Any:
    def the_wall() -> float:
        return time.time()  # looked up each time, because a test sets it

    return lambda: the_wall


def of_any_boot(_: Any) -> Any:
    def mutant(self: Any) -> None:
        ended = "SELECT id FROM sessions WHERE expires_at <= ?"
        for (session,) in self.connection.rows(ended, (self.now,)):
            self.end_session(session)

    return mutant


def by_prefix(below: Any) -> Any:
    def mutant(self: Any, prefix: str) -> list[Entry]:
        return [self._entries[key] for key in sorted(self._entries) if key.startswith(prefix)]

    return mutant


MUTANTS = [
    Mutant(
        "compare-and-set compares the value",
        "A value that has changed and changed back passes for unchanged (ABA).",
        "valkeyrie on redis (the encoded value)",
        (f"{_MEMORY}::test_put_expecting_an_entry_only_replaces_that_entry",),
        ((state, "check_expected", by_value),),
    ),
    Mutant(
        "fence accepts older tokens",
        "A write of a term that is over passes in the next term.",
        "all locks without a comparison of tokens: docker/leadership, libkv, tooz",
        (f"{_MEMORY}::test_fenced_write_is_refused_after_its_leader_withdrew",),
        ((state, "check_fence", accepts_older),),
    ),
    Mutant(
        "fence accepts any token",
        "The store checks that there is a leader, but not that it leads this term.",
        "all locks that have no token",
        (
            "tests/contract/test_memory.py::TestMemory::test_fenced_write_with_a_forged_token_is_refused",
        ),
        ((state, "check_fence", accepts_any_token),),
    ),
    Mutant(
        "list by string prefix",
        "A list of `ab` contains `abc`, and deleting one tree deletes the other.",
        "libkv's List on Consul and etcd v3",
        (f"{_MEMORY}::test_list_ends_at_the_slash",),
        ((State, "_subtree", by_prefix),),
    ),
    Mutant(
        "database sessions by the wall clock",
        "Setting the clock ends all sessions at once, or keeps them for hours.",
        "leases in SQL rows with now(), sherlock",
        (
            "tests/unit/test_wall_clock.py::test_session_does_not_end_when_the_wall_clock_is_set_ahead",
        ),
        ((sqlite, "machine_clock", wall_clock),),
    ),
    Mutant(
        "database sessions outlive a reboot",
        "The clock restarts with the machine, and the earlier leader leads for days.",
        "lock files that name a process",
        ("tests/integration/sqlite/test_sqlite_processes.py::test_reboot_ends_every_session",),
        ((Transaction, "expire", of_any_boot),),
    ),
    Mutant(
        "replaced database goes unnoticed",
        "Another file is at the path, and each file has its own leader.",
        "flock on a file that was unlinked",
        ("tests/integration/sqlite/test_sqlite_file.py::test_replaced_file_loses_its_sessions",),
        ((Database, "is_current", always(value=True)),),
    ),
]
