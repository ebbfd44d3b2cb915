"""The end of a `with` block over leadership: a loss cannot be overlooked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from leadership_core import Candidate, LeadershipLost, StoreHandle, Term
from tests.core.faulty import Fault, FaultyStore

Enter = Callable[[StoreHandle], AbstractContextManager[Term]]

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
    faulty: FaultyStore, opened: StoreHandle, enter: Enter
) -> None:
    with pytest.raises(LeadershipLost, match="key"), enter(opened) as term:
        _lose(faulty, term)


@blocks
def test_error_of_the_block_passes_through_unchanged(
    faulty: FaultyStore, opened: StoreHandle, enter: Enter
) -> None:
    def block() -> None:
        with enter(opened) as term:
            _lose(faulty, term)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        block()

    assert caught.value.__cause__ is None


@blocks
def test_block_that_ends_in_time_raises_nothing(opened: StoreHandle, enter: Enter) -> None:
    with enter(opened) as term:
        assert not term.lost

    assert term.lost


def test_deleted_claim_is_told_at_the_end(store: StoreHandle) -> None:
    """The lease itself goes on."""
    candidate = Candidate(store, "key", "a", ttl=10)

    def block() -> None:
        with candidate.leading(5) as term:
            store.delete("key")
            assert term.wait_lost(5)

    with pytest.raises(LeadershipLost, match="deleted"):
        block()


@pytest.mark.parametrize("end", ["resign", "stop", "close"])
def test_block_whose_program_has_ended_the_term_raises_nothing(
    store: StoreHandle, end: str
) -> None:
    candidate = Candidate(store, "key", "a", ttl=10)

    with candidate.leading(5) as term:
        if end == "close":
            store.close()
        else:
            getattr(candidate, end)()
        assert term.lost


def test_later_term_does_not_hide_the_loss_of_the_block(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """The candidate stands on while the block runs, and may lead again when it ends."""
    candidate = Candidate(opened, "key", "a", ttl=1)

    def block() -> None:
        with candidate.leading(5) as term:
            _lose(faulty, term)
            assert candidate.wait_elected(5)

    with pytest.raises(LeadershipLost):
        block()
