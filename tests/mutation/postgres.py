"""Mutants of PostgreSQL: the functions of the schema, and what an answer says about a write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leadership_core.backend import NotApplied
from leadership_core.backend.heartbeats import HolderDeadline
from leadership_postgres import client, errors, schema, transport

from .mutant import Mutant, nothing

__all__ = ["MUTANTS", "begins_at_the_answer", "of_the_answer"]

_GUARDS = "tests/integration/postgres/test_guards.py"
_ERRORS = "tests/unit/test_postgres_errors.py"
_DEADLINES = "tests/unit/test_own_session_deadlines.py"


def without(*parts: str) -> Callable[[str], str]:
    """The text without these parts of it; each is there."""

    def mutate(text: str) -> str:
        for part in parts:
            assert part in text, part
            text = text.replace(part, "")
        return text

    return mutate


def instead(part: str, new: str) -> Callable[[str], str]:
    """The text with something else in the place of a part that is there."""

    def mutate(text: str) -> str:
        assert part in text, part
        return text.replace(part, new)

    return mutate


def of_the_answer(acknowledge: Any) -> Any:
    return lambda self, sent: acknowledge(self, self._now())


def begins_at_the_answer(init: Any) -> Any:
    return lambda self, ttl, now, sent: init(self, ttl, now, now())


def rolled_back(statement_error: Any) -> Any:
    return lambda error, doing: NotApplied(f"cannot {doing}: {error}")


MUTANTS = [
    Mutant(
        "claim on PostgreSQL without a comparison",
        "A candidate that was stopped between its read and its write replaces the claim of a newer leader.",
        "locks in a table that are taken by UPDATE without the old row in its WHERE",
        (f"{_GUARDS}::test_claim_is_replaced_only_as_it_was_read",),
        ((schema, "_SQL", instead("p_expect = 'entry' AND", "false AND")),),
    ),
    Mutant(
        "session of a claim on PostgreSQL is not checked",
        "The claim of a session that was ended is written, and leads until the next renewal.",
        "this library, before its scenarios ran on PostgreSQL",
        (f"{_GUARDS}::test_claim_of_a_session_that_was_ended_is_not_made",),
        ((schema, "_SQL", instead("v_claimant <> '' AND NOT FOUND", "false")),),
    ),
    Mutant(
        "session on PostgreSQL is ended without a comparison",
        "An observer that was stopped ends the session of a leader that has renewed it meanwhile.",
        "lock tables that are cleaned up by age",
        (f"{_GUARDS}::test_session_that_was_renewed_meanwhile_is_not_ended",),
        ((schema, "_SQL", without(" AND (p_beat IS NULL OR beat = p_beat)")),),
    ),
    Mutant(
        "renewal that PostgreSQL has lost is not missed",
        "After a failover without synchronous replication, a session goes on that others have seen silent.",
        "advisory locks, which are not replicated",
        (f"{_GUARDS}::test_session_whose_renewals_the_server_has_lost_is_over",),
        ((schema, "_SQL", instead("NOT v_session.beat = ANY (p_expected)", "false")),),
    ),
    Mutant(
        "clock of PostgreSQL ends a leader's session",
        "A server whose wall clock is set ahead ends all terms, and elects others beside the old leaders.",
        "lock tables with a column expires_at, of which there are many",
        (f"{_GUARDS}::test_session_of_an_election_does_not_depend_on_the_clock_of_the_server[-1]",),
        ((schema, "_SQL", instead("(p_session.bound\n    AND ", "(")),),
    ),
    Mutant(
        "fence without a lock of the row",
        "The term ends between the check and the commit of the user's transaction, which is made all the same.",
        "a SELECT of the leader at the beginning of the transaction",
        (f"{_GUARDS}::test_claim_is_not_replaced_before_the_transaction_that_has_its_fence_ends",),
        ((schema, "_SQL", without(" FOR SHARE")),),
    ),
    Mutant(
        "standby is read",
        "A candidate sees an old heartbeat that does not change, and replaces a leader that renews.",
        "libpq without target_session_attrs, behind a load balancer",
        (f"{_ERRORS}::test_read_of_a_standby_is_not_believed",),
        ((client, "_refuse_standby", nothing),),
    ),
    Mutant(
        "end of the server is a rollback",
        "A commit that was made before the server stopped is reported as not applied.",
        "SQLAlchemy's and Django's advice to repeat a transaction after a disconnect",
        (f"{_ERRORS}::test_end_of_the_server_leaves_the_outcome_unknown",),
        ((errors, "statement_error", rolled_back),),
    ),
    Mutant(
        "write to PostgreSQL without an answer is not applied",
        "A claim that was written is taken for none: it leads without a holder that knows of it.",
        "any driver whose caller takes a lost connection for a failed statement",
        (f"{_GUARDS}::test_write_without_an_answer_has_an_unknown_outcome",),
        ((transport, "StoreUnavailable", lambda _: NotApplied),),
    ),
    Mutant(
        "deadline of a session from the answer",
        "A session is renewed again after others may have seen it silent for its ttl.",
        "redlock-py before it had a drift; many locks on Redis",
        (f"{_DEADLINES}::test_ttl_counts_from_the_sending_of_the_last_renewal[postgres]",
         f"{_DEADLINES}::test_ttl_counts_from_the_sending_of_the_last_renewal[redis]"),
        ((HolderDeadline, "acknowledge", of_the_answer),),
    ),
]  # fmt: skip
