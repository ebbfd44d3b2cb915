"""The end of a `with` block over a term: a loss of leadership inside it is raised."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from leadership_core import Candidate, LeadershipLost, Store, Term
from tests.unit.faulty import Fault, FaultyStore

Enter = Callable[[Store], AbstractContextManager[Term]]

_BLOCKS: dict[str, Enter] = {
    "lock": lambda store: store.lock("key", "node-1", ttl=1),
    "leading": lambda store: Candidate(store, "key", "node-1", ttl=1).leading(5),
}
blocks = pytest.mark.parametrize("enter", _BLOCKS.values(), ids=_BLOCKS)


def _lose(faulty: FaultyStore, term: Term) -> None:
    faulty.inject(Fault.REPLY_LOST, "renew")
    assert term.wait_lost(5)
    faulty.heal()


@blocks
def test_block_that_outlives_its_lease_raises(
    faulty: FaultyStore, opened: Store, enter: Enter
) -> None:
    """The end of the block raises `LeadershipLost`."""
    with pytest.raises(LeadershipLost, match="key"), enter(opened) as term:
        _lose(faulty, term)


@blocks
def test_error_of_the_block_passes_through_unchanged(
    faulty: FaultyStore, opened: Store, enter: Enter
) -> None:
    """The loss of the term does not replace the error of the block."""

    def block() -> None:
        with enter(opened) as term:
            _lose(faulty, term)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        block()

    assert caught.value.__cause__ is None


@blocks
def test_block_that_ends_in_time_raises_nothing(opened: Store, enter: Enter) -> None:
    """The term is still valid at the end of the block."""
    with enter(opened) as term:
        assert not term.lost

    assert term.lost


def test_block_raises_after_its_claim_was_deleted(store: Store) -> None:
    """The claim is gone although the lease has not expired."""
    candidate = Candidate(store, "key", "a", ttl=10)

    def block() -> None:
        with candidate.leading(5) as term:
            store.delete("key")
            assert term.wait_lost(5)

    with pytest.raises(LeadershipLost, match="deleted"):
        block()


@pytest.mark.parametrize("end", ["resign", "stop", "close"])
def test_block_whose_program_has_ended_the_term_raises_nothing(store: Store, end: str) -> None:
    """A resignation inside the block is no loss."""
    candidate = Candidate(store, "key", "a", ttl=10)

    with candidate.leading(5) as term:
        if end == "close":
            store.close()
        else:
            getattr(candidate, end)()
        assert term.lost


def test_later_term_does_not_hide_the_loss_of_the_block(faulty: FaultyStore, opened: Store) -> None:
    """The candidate goes on campaigning, and may be elected again before the block ends."""
    candidate = Candidate(opened, "key", "a", ttl=1)

    def block() -> None:
        with candidate.leading(5) as term:
            _lose(faulty, term)
            assert candidate.wait_elected(5)

    with pytest.raises(LeadershipLost):
        block()
