"""Cost of a handover for the server: it does not depend on the number of waiting candidates."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from leadership_core import Candidate, open_store
from leadership_core.engine.messages import Phase
from tests.support.admin_tools import admin_of
from tests.support.internals import candidate_control
from tests.support.servers.link import Link
from tests.support.waiting import at_most, eventually
from tests.system.conftest import OwnServer, Report

_MOST_THREADS = 16
_SESSIONS = {"consul": 1, "etcd": 2, "zookeeper": 2}
_MOST_WRITES = 4
_TTL = 120.0  # so that no renewal falls into what is counted: on ZooKeeper each is a write


@pytest.mark.parametrize("kind", ["etcd", "zookeeper"])
def test_handover_cost_is_independent_of_number_of_waiters(
    kind: str, own_server: OwnServer, unique_key: str, measured: Report
) -> None:
    """Thirty waiting candidates cause as many requests as three, and the release is the only write."""
    options = {"max_session": _TTL} if kind == "zookeeper" else {}
    server = own_server(**options)
    admin, requests = admin_of(server), {}
    for waiters in (3, 30):
        key = f"{unique_key}/{waiters}"
        with Link(server.port) as link, _queue(server.url_at(link.port), key, 1 + waiters) as queue:
            counts = []
            for leader, heir in itertools.pairwise(queue[:4]):
                writes, before = admin.writes(), len(link.asked)
                began = time.monotonic()
                assert leader.resign(cooldown=60.0)
                term = heir.wait_elected(at_most(20))
                assert term is not None
                measured(f"{waiters} wait: from resign to elected", time.monotonic() - began)
                time.sleep(0.2)
                counts.append(len(link.asked) - before)
                assert admin.writes() - writes == 1
            # Renewals of those that wait may fall into one handover; a herd is in all of them.
            requests[waiters] = min(counts)
            print(f"{kind}: {waiters} wait: requests per handover {counts}")
    assert requests[30] <= requests[3] + 6


@pytest.mark.parametrize("kind", ["consul", "etcd", "zookeeper"])
def test_waiters_of_one_store_cost_the_server_one_claim_or_two(
    kind: str, own_server: OwnServer, unique_key: str
) -> None:
    """A thousand in one process cost what four do, and lead in order for a constant number of writes.

    Where the store keeps a queue of claims, the next candidate has one beside the leader's, and a session for it.
    """
    options: dict[str, Any] = {"dev": True} if kind == "consul" else {}
    if kind == "zookeeper":
        options = {"max_session": _TTL}
    server = own_server(**options)
    admin, threads, costs = admin_of(server), threading.active_count(), dict[int, list[int]]()
    for waiters in (4, 1000):
        with open_store(server.url) as store:
            queue = [
                Candidate(store, f"{unique_key}/{waiters}", str(number), ttl=_TTL)
                for number in range(1 + waiters)
            ]
            for candidate in queue:
                candidate.run_for_election()
            assert queue[0].wait_elected(at_most(20))
            assert queue[-1].wait_elected(0) is None
            time.sleep(0.5)  # what follows the first election
            assert eventually(lambda: len(admin.sessions()) == _SESSIONS[kind], 10)
            assert threading.active_count() - threads <= _MOST_THREADS
            costs[waiters] = []
            _await_claim(kind, queue[1])
            for leader, heir, third in zip(queue[:3], queue[1:4], queue[2:5], strict=True):
                writes = admin.writes()
                assert leader.resign(cooldown=60.0)
                assert heir.wait_elected(at_most(20))
                _await_claim(kind, third)
                costs[waiters].append(admin.writes() - writes)
    assert min(costs[1000]) <= min(costs[4]) <= _MOST_WRITES
    assert max(costs[1000]) <= max(costs[4]) + 1


def _await_claim(kind: str, heir: Candidate) -> None:
    """Wait for the claim that the next candidate has beside the leader's, where the store orders claims."""
    if _SESSIONS[kind] > 1:
        control = candidate_control(heir)
        assert eventually(lambda: control.debug_state().phase is Phase.WAITING, 10)


@contextmanager
def _queue(url: str, key: str, size: int) -> Iterator[list[Candidate]]:
    """Start so many candidates of one key; returns them in the order in which they will lead."""
    with ExitStack() as stack:
        queue: list[Candidate] = []
        for number in range(size):
            store = stack.enter_context(open_store(url))
            queue.append(Candidate(store, key, str(number), ttl=_TTL))
            queue[-1].run_for_election()
            if number == 0:
                assert queue[0].wait_elected(10)
            else:
                time.sleep(0.05)
        time.sleep(1.0)
        yield queue
