"""Environments reported by users of similar libraries: limits, host names, cluster members."""

from __future__ import annotations

import gc
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from leadership_core import Candidate, Follower, open_store
from leadership_core.testing.recorders import WatchRecorder
from tests.conftest import EtcdFactory
from tests.support.paths import python_path
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.proxy import Proxy
from tests.support.servers.requirements import found
from tests.system.conftest import TargetStore

_MANY = 1100  # descriptors: more than `select` supports
_KINDS = ["sqlite", "consul", "etcd", "zookeeper"]

_PROGRAM = """
import sys
from leadership_core import Candidate, Follower, open_store

url, key = sys.argv[1:]
with open_store(url) as store:
    heard = []
    watch = store.watch(key + "/entry", heard.append)
    follower = Follower(store, key)
    candidate = Candidate(store, key, "a", ttl=5)
    with candidate.leading(20) as term:
        store.put(key + "/entry", b"1", fence=term)
        leader = follower.wait_leader(10)
        if leader is None or leader.value != "a":
            sys.exit("no leader")
    watch.close()
    follower.stop()
    lock = store.lock(key + "/lock", ttl=5)
    with lock:
        pass
print("done")
"""


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Open so many descriptors that the next one has a number above 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _MANY + 200:
        pytest.fail(f"this machine allows {hard} descriptors, and the test needs {_MANY + 200}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _MANY + 200), hard))
    opened = [os.open("/dev/null", os.O_RDONLY)]
    try:
        while opened[-1] < _MANY:
            opened.append(os.dup(opened[0]))
        yield
    finally:
        for one in opened:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("kind", _KINDS)
def test_store_works_with_descriptors_above_1023(
    target: TargetStore, unique_key: str, many_descriptors: None
) -> None:
    """`select.select` refuses such numbers, and a server with many clients has them."""
    with open_store(target.url) as store:
        candidate, follower = Candidate(store, unique_key, "a", ttl=5), Follower(store, unique_key)
        assert candidate.wait_elected(10)
        assert follower.wait_leader(10)
        assert candidate.resign(60)
        assert candidate.stop()
        follower.stop()


@pytest.mark.parametrize("options", [["-OO"], ["-X", "dev", "-W", "error"]], ids=["OO", "dev"])
@pytest.mark.parametrize("kind", _KINDS)
def test_program_works_in_other_modes_of_python(
    target: TargetStore, unique_key: str, options: list[str]
) -> None:
    """With -OO, and with all warnings as errors, those about leaks included."""
    done = subprocess.run(
        [sys.executable, *options, "-c", _PROGRAM, target.url, unique_key],
        env={**os.environ, **python_path()},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert "Warning" not in done.stderr, done.stderr


@pytest.mark.parametrize("kind", ["consul", "zookeeper"])
def test_hostname_is_resolved_again_after_address_change(
    kind: str, target: TargetStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next connection goes to the new address."""
    real, at = socket.getaddrinfo, ["127.0.0.2"]

    def getaddrinfo(host: Any, *rest: Any, **how: Any) -> Any:
        return real(at[0] if host == "moving.test" else host, *rest, **how)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    port = int(target.url.split("127.0.0.1:")[1].split("/")[0].split("?")[0])
    url = target.url.replace("127.0.0.1", "moving.test")
    with ExitStack() as stack:
        before = stack.enter_context(Proxy(port, at=("127.0.0.2", port)))
        after = stack.enter_context(Proxy(port, at=("127.0.0.3", port)))
        with open_store(url) as store:
            candidate = Candidate(store, unique_key, "a", ttl=6)
            term = candidate.wait_elected(10)
            assert term is not None
            assert before.connections
            assert not after.connections
            at[0] = "127.0.0.3"
            before.refuse()
            before.reset()
            time.sleep(1.5)  # so that there is something to renew
            term.ensure(5.0)
            assert candidate.term is term, "the leader was lost"
            assert after.connections
            store.put(unique_key + "/x", b"", fence=term)


def test_etcd_learner_first_in_url_is_skipped(
    etcd_server: EtcdFactory, tmp_path: Path, unique_key: str
) -> None:
    """A learner rejects requests: the next endpoint is tried, and none twice."""
    voter = etcd_server()
    learner = EtcdServer(found("etcd"), tmp_path / "learner", name="learner")
    peer = f"http://127.0.0.1:{learner.peer_port}"
    voter.cli("member", "add", "learner", "--learner", f"--peer-urls={peer}")
    learner.set_options(
        {
            "initial-cluster": (f"{voter.name}=http://127.0.0.1:{voter.peer_port},learner={peer}"),
            "initial-cluster-state": "existing",
            "initial-advertise-peer-urls": peer,
        }
    )
    learner.start(wait=False)
    try:
        with open_store(voter.url_at(learner.port, voter.port)) as store:
            candidate, heard = Candidate(store, unique_key, "a", ttl=5), WatchRecorder()
            watch = store.watch(f"{unique_key}/x", heard)
            assert candidate.wait_elected(15), "a learner was asked, and no other"
            entry = store.put(f"{unique_key}/x", b"1")
            assert heard.last_is(entry, 15), "the watch waits at the learner"
            watch.close()
            candidate.stop()
    finally:
        learner.remove()


@pytest.mark.parametrize("cycles", [150, pytest.param(10_000, marks=pytest.mark.soak)])
@pytest.mark.timeout(900)
def test_stopped_candidates_leave_nothing(cycles: int, unique_key: str) -> None:
    """Many candidates of one store leave neither threads nor objects."""
    with open_store("memory://") as store:

        def cycle(number: int) -> None:
            candidate = Candidate(store, f"{unique_key}/{number % 7}", "a", ttl=5)
            assert candidate.wait_elected(5)
            assert candidate.stop()

        for number in range(30):
            cycle(number)
        gc.collect()
        threads, objects = threading.active_count(), len(gc.get_objects())
        for number in range(cycles):
            cycle(number)
        gc.collect()
        assert threading.active_count() <= threads + 3
        assert len(gc.get_objects()) - objects < 1000
