"""What ends without a leader says why: a store that is down is named as the cause."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leadership_core import Candidate, Follower, NotElected, StoreHandle, StoreUnavailable
from tests.core.conftest import Open
from tests.core.faulty import Fault, FaultyStore

Wait = Callable[[StoreHandle, float], object]


def _leading(store: StoreHandle, timeout: float) -> object:
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
def test_store_that_is_down_is_the_cause(
    faulty: FaultyStore, opened: StoreHandle, wait: Wait, fault: Fault, timeout: float
) -> None:
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
def test_key_that_is_held_is_no_fault_of_the_store(open_one: Open, wait: Wait) -> None:
    assert Candidate(open_one(), "key", "other", ttl=10).wait_elected(5)

    if wait is not _leading:
        assert wait(open_one(), 0.3) is None
        return
    with pytest.raises(NotElected, match="ahead") as caught:
        wait(open_one(), 0.3)
    assert caught.value.__cause__ is None


def test_store_that_goes_down_while_another_leads_is_the_cause(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
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
def test_follower_of_a_store_that_is_down_raises(
    faulty: FaultyStore, opened: StoreHandle, fault: Fault
) -> None:
    faulty.inject(fault)

    with pytest.raises(StoreUnavailable, match="key"):
        Follower(opened, "key").wait_leader(1.2)

    faulty.heal()


def test_follower_of_an_election_without_a_leader_gets_none(store: StoreHandle) -> None:
    assert Follower(store, "key").wait_leader(0.3) is None
