"""Mistakes of stores that are built in: comparisons, fences, and a database as a store."""

from __future__ import annotations

import time
from typing import Any

from leadership_core import sqlite
from leadership_core.errors import Conflict, Fenced
from leadership_core.memory import state
from leadership_core.memory.state import State
from leadership_core.sqlite.database import Database
from leadership_core.sqlite.step import Step
from leadership_core.store import Entry

from .mutant import Mutant, always

__all__ = ["MUTANTS"]

_STORES = "tests/core/test_stores.py"


def by_value(check: Any) -> Any:
    def mutant(key: str, current: Any, expect: Any) -> None:
        if not isinstance(expect, Entry) or current is None:
            check(key, current, expect)
        elif current.value != expect.value:
            raise Conflict(f"{key!r} has another value")

    return mutant


def older_is_fine(check: Any) -> Any:
    def mutant(fence: tuple[str, int], claim: Any) -> None:
        if claim is None or claim.session is None or claim.revision < fence[1]:
            raise Fenced("that term is over")

    return mutant


def forgeable(check: Any) -> Any:
    """It is enough that somebody leads."""

    def mutant(fence: tuple[str, int], claim: Any) -> None:
        if claim is None or claim.session is None:
            raise Fenced("nobody leads")

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
        "Away and back again looks like never changed (ABA).",
        "valkeyrie on redis (the encoded value)",
        (f"{_STORES}::test_expect_entry_writes_only_over_it[memory]",),
        ((state, "check_expected", by_value),),
    ),
    Mutant(
        "a fence accepts older tokens",
        "A write of a term that is over passes in the term after it.",
        "all locks whose token nobody compares: docker/leadership, libkv, tooz",
        (f"{_STORES}::test_a_fence_holds_nothing_in_the_next_term[memory]",),
        ((state, "check_fence", older_is_fine),),
    ),
    Mutant(
        "a fence accepts whoever names a leader's key",
        "It is looked at whether somebody leads, and not whether it is this term.",
        "all locks that have no token",
        ("tests/testing/test_memory.py::TestMemory::test_a_forged_token_opens_no_fence",),
        ((state, "check_fence", forgeable),),
    ),
    Mutant(
        "a list ends anywhere",
        "What is below `ab` has `abc` in it, and deleting the one deletes the other.",
        "libkv's List on Consul and etcd v3",
        (f"{_STORES}::test_list_ends_at_the_slash[memory]",),
        ((State, "_below", by_prefix),),
    ),
    Mutant(
        "sessions of a database end by the wall clock",
        "Somebody sets the clock, and every session ends at once, or none does for hours.",
        "leases in SQL rows with now(), sherlock",
        ("tests/core/test_wall_clock.py::test_a_clock_that_is_set_ahead_ends_no_session",),
        ((sqlite, "machine_clock", wall_clock),),
    ),
    Mutant(
        "sessions of a database outlive a reboot",
        "The clock begins anew with the machine, and who led before it leads for days.",
        "lock files that name a process",
        ("tests/core/test_sqlite_processes.py::test_a_reboot_ends_every_session",),
        ((Step, "expire", of_any_boot),),
    ),
    Mutant(
        "a database that was replaced is not noticed",
        "The file at the path is another one, and each has its own leader.",
        "flock on a file that was unlinked",
        ("tests/core/test_sqlite_file.py::test_a_replaced_file_is_a_lost_session",),
        ((Database, "holds", always(value=True)),),
    ),
]
