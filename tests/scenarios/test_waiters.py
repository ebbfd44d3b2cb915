"""What a handover costs the server when many wait for it: the same as when few wait."""

from __future__ import annotations

import itertools
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from leadership_core import Candidate, open_store
from tests.scenarios.conftest import OwnServer, Report
from tests.scenarios.offices import office_of
from tests.scenarios.places import Running
from tests.servers.etcd import Etcd
from tests.servers.zookeeper import ZooKeeper

# On ZooKeeper a transaction that changes nothing confirms the state in which the next one leads.
_WRITES = {"etcd": 1, "zookeeper": 2}
_TTL = 60.0  # so that no renewal falls into what is counted: on ZooKeeper each is a write


@pytest.mark.parametrize("kind", ["etcd", "zookeeper"])
def test_handover_costs_the_same_however_many_wait(
    kind: str, own_server: OwnServer, unique_key: str, measured: Report
) -> None:
    """The same number of writes, and with thirty that wait as few requests as with three."""
    options = {"max_session": _TTL} if kind == "zookeeper" else {}
    server = own_server(**options)
    office, requests = office_of(server), {}
    for waiters in (3, 30):
        key = f"{unique_key}/{waiters}"
        with _queue(server.url, key, 1 + waiters) as queue:
            counts = []
            for leader, heir in itertools.pairwise(queue[:4]):
                idle = _idle_rate(server)
                writes, before = office.writes(), _requests(server)
                began = time.monotonic()
                assert leader.resign(cooldown=60.0)
                term = heir.wait_elected(5)
                assert term is not None
                measured(f"{waiters} wait: from resign to elected", time.monotonic() - began)
                time.sleep(0.2)
                counts.append(round(_requests(server) - before - idle * (time.monotonic() - began)))
                assert office.writes() - writes == _WRITES[kind]
            requests[waiters] = sorted(counts)[1]
            print(f"{kind}: {waiters} wait: requests per handover {counts}")
    assert requests[30] <= requests[3] + 6  # a renewal or two may fall into it


@contextmanager
def _queue(url: str, key: str, size: int) -> Iterator[list[Candidate]]:
    """So many candidates of one key, in the order in which they will lead."""
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


def _idle_rate(server: Running) -> float:
    """How many come each second although nothing happens; ZooKeeper counts pings, too."""
    before, began = _requests(server), time.monotonic()
    time.sleep(0.5)
    return (_requests(server) - before) / (time.monotonic() - began)


def _requests(server: Running) -> int:
    """How many the server has been sent, for etcd without those that only keep something alive."""
    if isinstance(server, Etcd):
        with urllib.request.urlopen(f"http://{server.host}:{server.port}/metrics") as answer:
            text = answer.read().decode()
        pattern = (
            r'^grpc_server_started_total\{grpc_method="(?:Range|Txn|DeleteRange|Put)".*\} (\S+)$'
        )
        return int(sum(float(number) for number in re.findall(pattern, text, re.MULTILINE)))
    assert isinstance(server, ZooKeeper)
    found = re.search(r"^zk_packets_received\t(\d+)$", server.ask("mntr"), re.MULTILINE)
    assert found
    return int(found[1])
