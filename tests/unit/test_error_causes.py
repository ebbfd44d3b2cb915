"""The cause in the errors of calls that end without a leader: a store that is down is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leadership_core import Candidate, Follower, NotElected, Store, StoreUnavailable
from tests.unit.conftest import Open
from tests.unit.faulty import Fault, FaultyStore

Wait = Callable[[Store, float], object]


def _leading(store: Store, timeout: float) -> object:
    with Candidate(store, "key", "node-1", ttl=3).leading(timeout) as term:
        return term


_WAITS: dict[str, Wait] = {
    "wait_elected": lambda store, timeout: Candidate(store, "key", "node-1", ttl=3).wait_elected(
        timeout
    ),
    "leading": _leading,
    "acquire": lambda store, timeout: store.lock("key", "node-1", ttl=3).acquire(timeout),
}
waits = pytest.mark.parametrize("wait", _WAITS.values(), ids=_WAITS)


@waits
@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.HANGS])
@pytest.mark.parametrize("timeout", [0, 0.7])
def test_store_down_is_the_cause_of_not_elected(
    faulty: FaultyStore, opened: Store, wait: Wait, fault: Fault, timeout: float
) -> None:
    """The error of the store is the `__cause__`."""
    faulty.inject(fault)

    with pytest.raises(NotElected) as caught:
        wait(opened, timeout)

    assert isinstance(caught.value.__cause__, StoreUnavailable)
    message = str(caught.value)
    assert "not in time" not in message
    assert "key" in message
    assert opened.url in message
    assert "'node-1'" in message
    faulty.heal()


@waits
def test_not_elected_has_no_cause_while_another_leads(open_one: Open, wait: Wait) -> None:
    """`leading` raises without a `__cause__`; the other waits return None."""
    assert Candidate(open_one(), "key", "other", ttl=10).wait_elected(5)

    if wait is not _leading:
        assert wait(open_one(), 0.3) is None
        return
    with pytest.raises(NotElected, match="ahead") as caught:
        wait(open_one(), 0.3)
    assert caught.value.__cause__ is None


def test_store_down_during_the_wait_is_the_cause_of_not_elected(
    faulty: FaultyStore, opened: Store
) -> None:
    """The other candidate led when the wait began."""
    with faulty.opened() as other:
        leader = Candidate(other, "key", "a", ttl=30)
        assert leader.wait_elected(5)
        second = Candidate(opened, "key", "b", ttl=1)
        assert second.wait_elected(0.2) is None
        faulty.inject(Fault.REQUEST_LOST)

        with pytest.raises(NotElected) as caught:
            second.wait_elected(2)

        assert isinstance(caught.value.__cause__, StoreUnavailable)
        faulty.heal()


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.HANGS])
def test_wait_leader_raises_while_the_store_is_down(
    faulty: FaultyStore, opened: Store, fault: Fault
) -> None:
    """Without an answer of the store it is unknown whether there is a leader."""
    faulty.inject(fault)

    with pytest.raises(StoreUnavailable, match="key"):
        Follower(opened, "key").wait_leader(1.2)

    faulty.heal()


def test_wait_leader_returns_none_without_a_leader(store: Store) -> None:
    """The store has answered that there is none."""
    assert Follower(store, "key").wait_leader(0.3) is None
