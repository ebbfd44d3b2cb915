"""The rate limit of an election's requests, which must not delay a handover or a user call."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack

import pytest

from leadership_core import Candidate, open_store
from tests.support.servers.consul import Consul
from tests.support.waiting import wait_until

HANDOVERS = 30


@pytest.mark.parametrize(("members", "cooldown"), [(2, 0.02), (3, 0.2)])
def test_rate_limit_does_not_delay_repeated_handovers(
    consul: Consul,
    unique_key: str,
    caplog: pytest.LogCaptureFixture,
    members: int,
    cooldown: float,
) -> None:
    """Candidates with a store each that resign as soon as they lead are never delayed.

    The cooldown lets each of them lead. One that has not led for ten handovers in a row could not
    be distinguished from one with a faulty server.
    """
    led: list[str] = []
    over = threading.Event()

    def campaign(candidate: Candidate) -> None:
        for elected in candidate.run_for_election():
            if over.is_set():
                return
            if elected:
                led.append(candidate.value)
                candidate.resign(cooldown)

    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(consul.url)) for _ in range(members)]
        candidates = [Candidate(store, unique_key, f"c{n}") for n, store in enumerate(stores)]
        threads = [threading.Thread(target=campaign, args=[one]) for one in candidates]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(set(led)) == members, 10)  # the start is over
        begun = len(led)
        with caplog.at_level(logging.DEBUG, "leadership_consul"):
            wait_until(lambda: len(led) >= begun + HANDOVERS, 30)
        over.set()
        for candidate in candidates:
            candidate.stop()
        for thread in threads:
            thread.join(5)

    assert "rate limit" not in caplog.text


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_repeated_acquire_of_held_lock_is_not_rate_limited(
    consul: Consul, unique_key: str, caplog: pytest.LogCaptureFixture, timeout: float
) -> None:
    """Each attempt is a candidate that a user has started, whose first answer is never delayed."""
    with open_store(consul.url) as holder, open_store(consul.url) as store:
        assert holder.lock(unique_key).acquire(5)
        lock = store.lock(unique_key)
        with caplog.at_level(logging.DEBUG, "leadership_consul"):
            for _ in range(20):
                assert lock.acquire(timeout) is None
    assert "rate limit" not in caplog.text


def test_reads_without_a_pause_do_not_delay_an_election(consul: Consul, unique_key: str) -> None:
    """The requests of user calls are not charged to the election."""
    enough = threading.Event()
    with open_store(consul.url) as store:

        def read() -> None:
            while not enough.is_set():
                store.leader(unique_key)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            candidate = Candidate(store, unique_key, "a", ttl=2.0)
            first = candidate.wait_elected(3)
            assert first is not None
            assert candidate.resign(0.1)
            assert candidate.wait_elected(3)
        finally:
            enough.set()
            for reader in readers:
                reader.join()
