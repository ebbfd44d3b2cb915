"""Deleting what is below a key, in one step."""

from __future__ import annotations

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.store import Absent


def test_a_tree_ends_at_the_slash_and_goes_at_once(store: ConsulStore, unique_key: str) -> None:
    """All below the key is gone, more than a transaction has operations; nothing else is."""
    kept = [f"{unique_key}", f"{unique_key}0", f"{unique_key}c/d", f"{unique_key}-/x"]
    for key in (*kept, *(f"{unique_key}/{number}/x" for number in range(70))):
        store.put(key, b"1")

    assert store.delete_tree(unique_key) == 70
    assert store.list(unique_key) == []
    assert all(store.get(key) for key in kept)
    assert store.delete_tree(unique_key) == 0


def test_a_locked_key_goes_with_its_tree(
    store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The leader of an election below it is told that it leads no more."""
    election = store.election(f"{unique_key}/leader")
    claim = election.enter(session, b"Frank")

    assert store.delete_tree(unique_key) == 1

    assert election.standing(claim) == Absent()
    assert election.leader() is None
