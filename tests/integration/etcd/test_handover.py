"""The cost of a handover, and operators who end terms."""

from __future__ import annotations

import http.client
import re
import time
from contextlib import ExitStack
from functools import partial

import pytest

from leadership_core import Candidate, Follower, open_store
from leadership_core.events import Elected, Lost
from tests.support.servers.etcd import EtcdServer
from tests.support.waiting import at_most, wait_until

_WAITING = 20


def _requests(server: EtcdServer) -> float:
    """The number of calls about its keys that a server has answered, without watches."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    counts = re.findall(
        r'^grpc_server_handled_total\{.*grpc_service="etcdserverpb.KV".*\} (\S+)$',
        text,
        re.MULTILINE,
    )
    return sum(map(float, counts))


def _calls(server: EtcdServer, method: str) -> int:
    """How often a server has been asked for a method."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    counts = re.findall(
        rf'^grpc_server_started_total\{{grpc_method="{method}".*\}} (\S+)$', text, re.MULTILINE
    )
    return int(sum(map(float, counts)))


def _has_candidates(etcd: EtcdServer, number: int) -> bool:
    return len(etcd.keys("election/")) == number


def test_handover_takes_one_write_and_few_reads(etcd: EtcdServer) -> None:
    """Of twenty waiting candidates one is woken: the others send nothing."""
    with ExitStack() as stack:
        # A store for each, as in processes of their own: those of one store have one claim.
        stores = [stack.enter_context(open_store(etcd.url)) for _ in range(_WAITING + 1)]
        candidates = [Candidate(one, "election", str(n), ttl=60) for n, one in enumerate(stores)]
        for number, candidate in enumerate(candidates):
            candidate.run_for_election()
            wait_until(partial(_has_candidates, etcd, number + 1))
        assert candidates[0].wait_elected(5) is not None
        time.sleep(0.5)
        writes, requests = etcd.revision(), _requests(etcd)

        for number in range(5):
            candidates[number].resign(cooldown=60)
            assert candidates[number + 1].wait_elected(5) is not None
        time.sleep(0.5)

        assert etcd.revision() - writes == 5
        # The deletion, and a read of the one after the next; the metrics are read by HTTP.
        assert _requests(etcd) - requests <= 5 * 2 + 3
        assert sum(candidate.is_leader for candidate in candidates) == 1


def test_candidate_with_revoked_lease_enters_again_and_is_elected(etcd: EtcdServer) -> None:
    """The lease of the waiting candidate is revoked, then the leader resigns."""
    with open_store(etcd.url) as store, open_store(etcd.url) as other:
        leading = Candidate(store, "election", "leads", ttl=5)
        assert leading.wait_elected(5) is not None
        leader = etcd.keys("election/")
        waiting = Candidate(other, "election", "phantom", ttl=5)
        waiting.run_for_election()
        wait_until(lambda: len(etcd.keys("election/")) == 2)
        (lease,) = set(etcd.keys("election/").values()) - set(leader.values())

        etcd.revoke(lease)
        leading.resign(cooldown=30)

        term = waiting.wait_elected(10)
        assert term is not None
        keys = etcd.keys("election/")
        assert list(keys.values()) != [lease]
        found = store.leader("election")
        assert found is not None
        assert (found.value, found.token) == ("phantom", term.token)


@pytest.mark.parametrize("how", ["revoke", "delete", "overwrite"])
def test_operator_ends_term(etcd: EtcdServer, how: str) -> None:
    """`Lost` names the reason at once; the next election has a larger token."""
    reasons = {"revoke": "session_lost", "delete": "deleted", "overwrite": "overwritten"}
    with open_store(etcd.url) as store, open_store(etcd.url) as other:
        candidate = Candidate(store, "election", "Frank", ttl=10)
        events = candidate.events()
        term = candidate.wait_elected(5)
        assert term is not None
        follower = Follower(other, "election")
        assert follower.wait_leader(5) is not None
        ((key, lease),) = etcd.keys("election/").items()

        if how == "revoke":
            etcd.revoke(lease)
        elif how == "delete":
            etcd.cli("del", key)
        else:
            etcd.cli("put", f"--lease={lease:x}", key, "by hand")
        began = time.monotonic()
        assert term.wait_lost(2)
        assert time.monotonic() - began < at_most(0.5)

        again = candidate.wait_elected(10)
        assert again is not None
        assert again.token > term.token
        candidate.stop()
        events_seen = list(events)
    lost = next(event for event in events_seen if isinstance(event, Lost))
    # The deletion of its key is nearly always reported before the end of a revoked lease.
    assert lost.reason in {reasons[how], "deleted"}
    assert sum(isinstance(event, Elected) for event in events_seen) == 2


def test_one_renewal_serves_all_elections_and_writes_nothing(etcd: EtcdServer) -> None:
    """Thirty elections of one session: each renewal is a keep-alive and the read that confirms it."""
    with open_store(etcd.url) as store:
        candidates = [Candidate(store, f"election/{n}", "a", ttl=3) for n in range(30)]
        for candidate in candidates:
            candidate.run_for_election()
        for candidate in candidates:
            assert candidate.wait_elected(20) is not None
        time.sleep(0.5)
        before = {name: _calls(etcd, name) for name in ("LeaseKeepAlive", "Range", "Txn")}
        revision = etcd.revision()

        wait_until(lambda: _calls(etcd, "LeaseKeepAlive") >= before["LeaseKeepAlive"] + 4, 20)

        renewals = _calls(etcd, "LeaseKeepAlive") - before["LeaseKeepAlive"]
        assert _calls(etcd, "Range") - before["Range"] <= renewals + 2
        assert (_calls(etcd, "Txn"), etcd.revision()) == (before["Txn"], revision)


def test_granted_claims_are_not_read_again(etcd: EtcdServer) -> None:
    """The answer to entering has shown them, and their watches begin there."""
    with (
        open_store(etcd.url) as store,
        Candidate(store, "election/first", "a", ttl=60).leading(),
    ):
        reads = _calls(etcd, "Range")
        candidates = [Candidate(store, f"election/{n}", "a", ttl=60) for n in range(30)]
        for candidate in candidates:
            candidate.run_for_election()
        for candidate in candidates:
            assert candidate.wait_elected(20) is not None
        time.sleep(0.5)

        assert _calls(etcd, "Range") - reads <= 2  # a renewal
        # The watches report what has happened since.
        etcd.cli("del", next(key for key in etcd.keys("election/7/")))
        wait_until(lambda: not candidates[7].is_leader)
