"""Mistakes about one claim, in the election that the core makes of reads and writes."""

from __future__ import annotations

from typing import Any

from leadership_core import default_election
from leadership_core.default_election import DefaultElection
from leadership_core.errors import StoreUnavailable
from leadership_core.store import ANY, Entry

from .mutant import Mutant, nothing

__all__ = ["MUTANTS"]

_FAULTS = "tests/core/test_faults.py"
_MEMORY = "tests/testing/test_memory.py::TestMemory"


def nothing_written(read_back: Any) -> Any:
    def mutant(self: Any, claim: Any, error: Exception) -> Any:
        raise StoreUnavailable("so it was not written")

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
    """It counts without a look at the key in between."""

    def mutant(self: Any, claim: Any, entry: Any) -> Any:
        last = self._store.get(self._epoch_key)
        token = default_election._Epoch.decode(last).token + 1
        value = default_election._Epoch(token, entry.revision, str(entry.session)).encode()
        self._store.put(self._epoch_key, value, expect=ANY)
        return token

    return mutant


def granted(enter: Any) -> Any:
    """Whoever has entered takes it that it leads: no look at who is first."""

    def mutant(self: Any, session: Any, value: bytes) -> Any:
        claim = enter(self, session, value)
        if claim.token is None:
            claim.token, claim.granted = 100_000, True
        return claim

    return mutant


def known_by_name(enter: Any) -> Any:
    """What is there and has one's own value is one's own."""

    def mutant(self: Any, session: Any, value: bytes) -> Any:
        claim, entry = enter(self, session, value), self._store.get(self._key)
        if claim.token is None and entry is not None and entry.value == value:
            claim.revision = claim.token = entry.revision
            claim.granted = True
        return claim

    return mutant


MUTANTS = [
    Mutant(
        "no answer to entering counts as failure",
        "It was written all the same, and holds the key for nobody.",
        "etcd's Campaign (21128), Curator 202",
        (f"{_FAULTS}::test_lost_answer_to_an_enter_is_read_back[Fault.REPLY_LOST]",),
        ((DefaultElection, "_read_back", nothing_written),),
        "default",
        slow=True,
    ),
    Mutant(
        "unknown counted as success",
        "No answer came to entering, and it believes to lead.",
        "python-etcd3, etcd3gw and aetcd (`with lock` enters although acquire() failed)",
        ("tests/testing/test_memory.py::TestMemory::test_a_lost_answer_to_entering_is_no_second_leader",),
        ((DefaultElection, "_read_back", surely_written),),
        "default",
    ),
    Mutant(
        "a withdrawal deletes whatever is there",
        "Whoever leaves late takes the next leader's claim away.",
        "tooz on memcached, recipes on redis that delete without comparing",
        (f"{_MEMORY}::test_withdrawing_is_idempotent_and_harmless_when_late",),
        ((DefaultElection, "withdraw", delete_anything),),
        "default",
    ),
    Mutant(
        "a withdrawal does nothing",
        "It is said to be released, and stands until its ttl.",
        "choria on NATS (the key is left to expire), docker/leadership when Unlock fails",
        (f"{_MEMORY}::test_one_of_many_leads_and_then_the_next",),
        ((DefaultElection, "withdraw", nothing),),
        "default",
        slow=True,
    ),
    Mutant(
        "whoever has entered leads",
        "Nobody looks who is first.",
        "notifelect (no answer heard means elected), simpleleader",
        (f"{_MEMORY}::test_the_second_waits_and_is_woken",),
        ((DefaultElection, "enter", granted),),
        "default",
    ),
    Mutant(
        "the same name is the same holder",
        "Two programs with one name, or one that was started anew, take each other for themselves.",
        "client-go's HolderIdentity, Patroni on etcd (`value == name`)",
        (f"{_MEMORY}::test_the_same_value_twice_is_two_holders",),
        ((DefaultElection, "enter", known_by_name),),
    ),
    Mutant(
        "a token is used twice",
        "Two terms have one fencing token, so the store cannot tell their writes apart.",
        "client-go's leaseTransitions (not raised for the same holder)",
        ("tests/core/test_default_election.py::test_tokens_grow_whatever_ends_a_term",),
        ((DefaultElection, "_raise_epoch", same_token),),
        "epochs",
    ),
    Mutant(
        "a term is counted without a second look",
        "A slow winner counts after the next one, and both have a token.",
        "programs that count their terms themselves, as stolon",
        ("tests/core/test_default_election.py::test_slow_winner_does_not_disturb",),
        ((DefaultElection, "_raise_epoch", count_once),),
        "epochs",
    ),
]  # fmt: skip
