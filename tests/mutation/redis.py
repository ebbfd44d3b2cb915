"""Mutants of Redis: the script, and what an answer says about a write."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from leadership_redis import client, session, transport
from leadership_redis.client import Client
from leadership_redis.session import RedisSession

from .mutant import Mutant, Patch, nothing

__all__ = ["MUTANTS"]

_GUARDS = "tests/integration/redis/test_guards.py"
_DEADLINES = "tests/unit/test_own_session_deadlines.py"


def script(part: str, new: str) -> tuple[Patch, ...]:
    """Put something else in the place of a part of the script, which has another digest then."""

    def mutate(text: str) -> str:
        assert part in text, part
        return text.replace(part, new)

    def digest(_: str) -> str:
        return hashlib.sha1(client._SCRIPT.encode()).hexdigest()

    return (client, "_SCRIPT", mutate), (client, "_SHA", digest)


def by_its_count(heartbeat_of: Any) -> Any:
    def mutant(session: str, record: bytes) -> Any:
        found = heartbeat_of(session, record)
        return replace(found, beat=found.beat.split(" ")[0])

    return mutant


def as_not_executed(_: Any) -> Callable[..., Any]:
    return lambda failure, given: transport._NotExecuted(failure)


def never(_: Any) -> Any:
    return property(lambda self: False)


MUTANTS = [
    Mutant(
        "claim on Redis without a comparison",
        "A candidate that was stopped between its read and its write replaces the claim of a newer leader.",
        "locks on Redis by GET and SET",
        (f"{_GUARDS}::test_claim_is_replaced_only_as_it_was_read",),
        script("expected ~= 'any' and expected ~=", "false and expected ~="),
    ),
    Mutant(
        "session of a claim on Redis is not checked",
        "The claim of a session that was ended is written, and leads until the next renewal.",
        "this library, before its scenarios ran on Redis",
        (f"{_GUARDS}::test_claim_of_a_session_that_was_ended_is_not_made",),
        script("if claimant and", "if false and"),
    ),
    Mutant(
        "session on Redis is ended without a comparison",
        "An observer that was stopped ends the session of a leader that has renewed it meanwhile.",
        "many locks on Redis that are deleted without a comparison",
        (f"{_GUARDS}::test_session_that_was_renewed_meanwhile_is_not_ended",),
        script("if record and beat and", "if false and"),
    ),
    Mutant(
        "heartbeat on Redis is its number",
        "After a failover that has lost a renewal, the next one looks like the lost one, and the session silent.",
        "counters without a random part",
        (f"{_GUARDS}::test_renewal_after_lost_data_is_another_heartbeat",),
        ((session, "heartbeat_of", by_its_count),),
    ),
    Mutant(
        "token of Redis by its clock alone",
        "A clock that is set back makes the token of the next term the smaller one.",
        "locks on Redis whose fencing token is a timestamp",
        (f"{_GUARDS}::test_token_grows_although_the_clock_of_the_server_was_set_back",),
        script("math.max(microseconds, last + 1)", "microseconds"),
    ),
    Mutant(
        "confirmation of replicas is not counted",
        "A write that no replica has is reported as made, and a failover takes it back.",
        "callers of WAIT that drop its answer",
        (f"{_GUARDS}::test_write_that_too_few_replicas_have_confirmed_has_an_unknown_outcome",),
        ((Client, "_check_confirmation", nothing),),
    ),
    Mutant(
        "write to Redis without an answer is not applied",
        "A claim that was written is taken for none, or is written once more at another server.",
        "redis-py, which repeats a command after a lost connection (Retry)",
        (f"{_GUARDS}::test_write_without_an_answer_has_an_unknown_outcome",),
        ((transport, "connection_lost", as_not_executed),),
    ),
    Mutant(
        "overdue session on Redis is renewed",
        "A session that others may have seen silent for its ttl lives on, and its claim keeps the election without a leader.",
        "watchdogs of locks on Redis, which renew whatever is there",
        (f"{_DEADLINES}::test_session_that_was_not_renewed_for_its_ttl_is_never_renewed_again[redis]",),
        ((RedisSession, "overdue", never),),
    ),
]  # fmt: skip
