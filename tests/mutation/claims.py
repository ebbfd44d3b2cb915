"""Mutants of the default election."""

from __future__ import annotations

from typing import Any

from leadership_core.backend import default_election
from leadership_core.backend.default_election import DefaultElection
from leadership_core.backend.entries import ANY, Entry
from leadership_core.errors import StoreUnavailable

from .mutant import Mutant, nothing

__all__ = ["MUTANTS"]

_FAULTS = "tests/unit/test_faults.py"
_MEMORY = "tests/contract/test_memory.py::TestMemory"


def nothing_written(read_back: Any) -> Any:
    def mutant(self: Any, claim: Any, error: Exception) -> Any:
        raise StoreUnavailable("it was not written")

    return mutant


def surely_written(read_back: Any) -> Any:
    def mutant(self: Any, claim: Any, error: Exception) -> Any:
        claim.settled = True
        return Entry(self._key, claim.value, 10_000, claim.session.id)

    return mutant


def delete_anything(withdraw: Any) -> Any:
    def mutant(self: Any, claim: Any) -> None:
        self._store.delete(self._key, expect=ANY)
        claim.settled = True

    return mutant


def same_token(raise_epoch: Any) -> Any:
    def mutant(self: Any, claim: Any, entry: Any) -> Any:
        token = raise_epoch(self, claim, entry)
        return None if token is None else (token + 1) // 2

    return mutant


def count_once(raise_epoch: Any) -> Any:
    """Count the term without a comparison."""

    def mutant(self: Any, claim: Any, entry: Any) -> Any:
        last = self._store.get(self._epoch_key)
        token = default_election._Epoch.decode(last).token + 1
        value = default_election._Epoch(token, entry.revision, str(entry.session)).encode()
        self._store.put(self._epoch_key, value, expect=ANY)
        return token

    return mutant


def granted(enter: Any) -> Any:
    """Each enter is granted, whichever claim is first."""

    def mutant(self: Any, session: Any, value: bytes) -> Any:
        claim = enter(self, session, value)
        if claim.token is None:
            claim.token, claim.granted = 100_000, True
        return claim

    return mutant


def known_by_name(enter: Any) -> Any:
    """An entry with the own value is the own claim."""

    def mutant(self: Any, session: Any, value: bytes) -> Any:
        claim, entry = enter(self, session, value), self._store.get(self._key)
        if claim.token is None and entry is not None and entry.value == value:
            claim.revision = claim.token = entry.revision
            claim.granted = True
        return claim

    return mutant


MUTANTS = [
    Mutant(
        "enter without a response counts as failure",
        "The claim was written all the same, and blocks the key.",
        "etcd's Campaign (21128), Curator 202",
        (f"{_FAULTS}::test_lost_answer_to_an_enter_is_read_back[Fault.REPLY_LOST]",),
        ((DefaultElection, "_read_back", nothing_written),),
        "default",
        slow=True,
    ),
    Mutant(
        "enter without a response counts as success",
        "The outcome of an enter is unknown, and the candidate leads.",
        "python-etcd3, etcd3gw and aetcd (`with lock` enters although acquire() failed)",
        ("tests/contract/test_memory.py::TestMemory::test_enter_with_a_lost_answer_makes_no_second_leader",),
        ((DefaultElection, "_read_back", surely_written),),
        "default",
    ),
    Mutant(
        "withdrawal without a comparison",
        "A late withdrawal deletes the claim of the next leader.",
        "tooz on memcached, recipes on redis that delete without comparing",
        (f"{_MEMORY}::test_withdraw_is_idempotent_and_harmless_when_late",),
        ((DefaultElection, "withdraw", delete_anything),),
        "default",
    ),
    Mutant(
        "withdrawal does nothing",
        "The release is reported, and the claim remains until its ttl.",
        "choria on NATS (the key is left to expire), docker/leadership when Unlock fails",
        (f"{_MEMORY}::test_one_of_many_claims_leads_at_a_time",),
        ((DefaultElection, "withdraw", nothing),),
        "default",
        slow=True,
    ),
    Mutant(
        "every entered candidate leads",
        "The candidate does not check that its claim is the first.",
        "notifelect (no answer heard means elected), simpleleader",
        (f"{_MEMORY}::test_second_claim_waits_and_is_woken",),
        ((DefaultElection, "enter", granted),),
        "default",
    ),
    Mutant(
        "holder identified by name",
        "Two candidates with one name, or a restarted one, take each other's claim for their own.",
        "client-go's HolderIdentity, Patroni on etcd (`value == name`)",
        (f"{_MEMORY}::test_claims_with_the_same_value_are_two_claims",),
        ((DefaultElection, "enter", known_by_name),),
    ),
    Mutant(
        "token is used twice",
        "Two terms have one fencing token, so the store cannot tell their writes apart.",
        "client-go's leaseTransitions (not raised for the same holder)",
        ("tests/unit/test_default_election.py::test_tokens_grow_whatever_ends_a_term",),
        ((DefaultElection, "_increment_epoch", same_token),),
        "epochs",
    ),
    Mutant(
        "term counted without a comparison",
        "A slow winner counts its term after the next one, and both have a token.",
        "programs that count their terms themselves, such as stolon",
        ("tests/unit/test_default_election.py::test_slow_winner_does_not_count_after_the_next_term",),
        ((DefaultElection, "_increment_epoch", count_once),),
        "epochs",
    ),
]  # fmt: skip
