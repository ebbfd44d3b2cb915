"""No write of a claim reaches a term that is not its own."""

from __future__ import annotations

from typing import Any

from leadership_consul.election import LOCK_FLAG
from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.store import Absent, Leading
from tests.consul.tools import encoded, raw, txn
from tests.servers.consul import Consul


def test_withdrawing_an_old_claim_again_does_not_touch_the_new_one(
    store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The same session has entered anew; a second withdrawal of the first claim changes nothing."""
    election = store.election(unique_key)
    first = election.enter(session, b"first")
    election.withdraw(first)
    second = election.enter(session, b"second")

    first.withdrawn = False  # as if its confirmation had been lost
    election.withdraw(first)

    assert second.token is not None
    assert election.standing(second) == Leading(second.token)


def test_a_delayed_copy_of_entering_finds_its_guard_gone(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The transaction of a term, sent again after that term, locks nothing."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    copy: list[dict[str, Any]] = [
        {"Verb": "check-index", "Key": unique_key, "Index": claim.guard},
        {
            "Verb": "lock",
            "Key": unique_key,
            "Session": session.id,
            "Value": encoded(b"Frank"),
            "Flags": LOCK_FLAG,
        },
    ]
    election.withdraw(claim)
    after_withdrawal = txn(consul, *copy)
    consul.cli("kv", "delete", unique_key)
    after_deletion = txn(consul, *copy)

    assert after_withdrawal.status == after_deletion.status == 409
    assert election.leader() is None


def test_a_delayed_copy_of_withdrawing_does_not_end_a_later_term(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The transaction that ended term 1, sent again in term 2 of the same session, is refused."""
    election = store.election(unique_key)
    first = election.enter(session, b"Frank")
    election.withdraw(first)
    second = election.enter(session, b"Frank")

    copy = txn(
        consul,
        {"Verb": "check-index", "Key": unique_key, "Index": first.token},
        {"Verb": "unlock", "Key": unique_key, "Session": session.id},
    )

    assert copy.status == 409
    assert second.token is not None
    assert election.standing(second) == Leading(second.token)


def test_a_key_that_is_locked_behind_the_claims_back_is_freed(
    consul: Consul,
    store: ConsulStore,
    session: ConsulSession,
    rival: ConsulSession,
    unique_key: str,
) -> None:
    """A lock of our session that no claim knows of is never adopted, and held by nobody for long."""
    election = store.election(unique_key)
    first = election.enter(rival, b"rival")
    claim = election.enter(session, b"Frank")
    election.withdraw(first)
    txn(consul, {"Verb": "lock", "Key": unique_key, "Session": session.id, "Flags": LOCK_FLAG})

    assert election.standing(claim) == Absent()

    assert election.enter(rival, b"rival").token is not None


def test_entering_does_not_adopt_what_the_session_already_holds(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The token is of a write of this claim, not of one that was there before."""
    txn(consul, {"Verb": "lock", "Key": unique_key, "Session": session.id, "Flags": LOCK_FLAG})
    before = raw(consul, unique_key)
    assert before is not None

    claim = store.election(unique_key).enter(session, b"Frank")

    assert claim.token is not None
    assert claim.token > before["ModifyIndex"] + 1  # unlocked and locked anew


def test_what_was_just_seen_vacant_may_have_been_taken_since(
    store: ConsulStore, session: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """The index that `standing` has read is only a guard: it is refused when it is out of date."""
    election = store.election(unique_key)
    first = election.enter(rival, b"rival")
    claim = election.enter(session, b"Frank")
    election.withdraw(first)
    assert election.standing(claim) == Absent()
    taken = store._client  # another process, which knows nothing of this read
    other = type(election)(taken, store._watcher, unique_key).enter(rival, b"rival")

    assert election.enter(session, b"Frank").token is None

    assert election.standing(other) == Leading(other.token or 0)
