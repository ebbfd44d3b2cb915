"""What a handover costs, however many wait, and that the library's candidates live by it."""

from __future__ import annotations

import http.client
import re
import time
from functools import partial

import pytest

from leadership_core import Candidate, Follower, open_store
from leadership_core.events import Elected, Lost
from tests.etcd.tools import wait_until
from tests.servers.etcd import EtcdServer
from tests.support.machine import at_most

_WAITING = 20


def _requests(server: EtcdServer) -> float:
    """How many calls to its keys a server has answered, watches aside."""
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


def _stand(etcd: EtcdServer, number: int) -> bool:
    return len(etcd.keys("race/")) == number


def test_a_handover_is_one_write_and_a_few_reads(etcd: EtcdServer) -> None:
    """Of twenty that wait one is woken: the others ask nothing and write nothing."""
    with open_store(etcd.url) as store:
        candidates = [Candidate(store, "race", str(n), ttl=60) for n in range(_WAITING + 1)]
        for number, candidate in enumerate(candidates):
            candidate.run_for_election()
            wait_until(partial(_stand, etcd, number + 1))
        assert candidates[0].wait_elected(5) is not None
        time.sleep(0.5)
        writes, requests = etcd.revision(), _requests(etcd)

        for number in range(5):
            candidates[number].resign(cooldown=60)
            assert candidates[number + 1].wait_elected(5) is not None
        time.sleep(0.5)

        assert etcd.revision() - writes == 5
        # The delete, and what the next one asks; the counting itself is none of these.
        assert _requests(etcd) - requests <= 5 * 5 + 1
        assert sum(candidate.is_leader for candidate in candidates) == 1


def test_the_phantom_enters_again_and_somebody_is_elected(etcd: EtcdServer) -> None:
    """The lease of the one that waits is revoked, then the leader resigns."""
    with open_store(etcd.url) as store, open_store(etcd.url) as other:
        leading = Candidate(store, "race", "leads", ttl=5)
        assert leading.wait_elected(5) is not None
        leader = etcd.keys("race/")
        waiting = Candidate(other, "race", "phantom", ttl=5)
        waiting.run_for_election()
        wait_until(lambda: len(etcd.keys("race/")) == 2)
        (lease,) = set(etcd.keys("race/").values()) - set(leader.values())

        etcd.revoke(lease)
        leading.resign(cooldown=30)

        term = waiting.wait_elected(10)
        assert term is not None
        keys = etcd.keys("race/")
        assert list(keys.values()) != [lease]
        found = store.leader("race")
        assert found is not None
        assert (found.value, found.token) == ("phantom", term.token)


@pytest.mark.parametrize("how", ["revoke", "delete", "overwrite"])
def test_an_operator_ends_a_term(etcd: EtcdServer, how: str) -> None:
    """`Lost` says how, within a notification; a new election has a larger token."""
    reasons = {"revoke": "session_lost", "delete": "deleted", "overwrite": "overwritten"}
    with open_store(etcd.url) as store, open_store(etcd.url) as other:
        candidate = Candidate(store, "race", "Frank", ttl=10)
        events = candidate.events()
        term = candidate.wait_elected(5)
        assert term is not None
        follower = Follower(other, "race")
        assert follower.wait_leader(5) is not None
        ((key, lease),) = etcd.keys("race/").items()

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
        told = list(events)
    lost = next(event for event in told if isinstance(event, Lost))
    # A revoked lease shows as a deleted key first, nearly always.
    assert lost.reason in {reasons[how], "deleted"}
    assert sum(isinstance(event, Elected) for event in told) == 2
