"""Objects of every kind in a forked child, on every store, with all their methods."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from tests.conftest import ConsulFactory, EtcdFactory, ZooKeeperFactory
from tests.support.paths import python_path
from tests.system.conftest import TargetStore

_INERT = {
    "store.close": "True",
    "store.__exit__": "None",
    "backend.close": "None",
    "lock.__exit__": "None",
    "candidate.is_leader": "False",
    "candidate.term": "None",
    "lock.term": "None",
    "term.lost": "True",
    "term.remaining": "0.0",
    "term.wait_lost": "True",
    "watch.close": "None",
    "watch_tree.close": "None",
    "watch_leader.close": "None",
    "watch_claim.close": "None",
}
"""What is no error in a child; everything else raises `ForkedStore`."""


@pytest.mark.parametrize("kind", ["sqlite", "consul", "etcd", "zookeeper"])
def test_objects_of_store_are_inert_in_forked_child(target: TargetStore, unique_key: str) -> None:
    """Also if all locks are held at the fork; the parent's objects still work."""
    _check(target.url, unique_key)


def test_objects_of_memory_are_inert_in_forked_child(unique_key: str) -> None:
    """The same for the store in the process itself."""
    _check("memory://forked", unique_key)


@pytest.mark.parametrize("kind", ["consul", "etcd", "zookeeper"])
def test_tls_connections_survive_forked_child(
    kind: str, request: pytest.FixtureRequest, unique_key: str
) -> None:
    """The end of the child sends no close_notify, which would end the parent's connections."""
    if kind == "consul":
        agent = cast(ConsulFactory, request.getfixturevalue("consul_server"))(dev=True, tls=True)
        certificates, port = agent.certificates, agent.port
    elif kind == "etcd":
        server = cast(EtcdFactory, request.getfixturevalue("etcd_server"))(tls=True)
        certificates, port = server.certificates, server.port
    else:
        node = cast(ZooKeeperFactory, request.getfixturevalue("zookeeper_server"))(tls=True)
        certificates, port = node.certificates, node.secure_port
    assert certificates is not None
    scheme = "zk" if kind == "zookeeper" else kind
    _check(f"{scheme}+tls://127.0.0.1:{port}?ca={Path(certificates.ca)}", unique_key)


def _check(url: str, key: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.fork_objects", url, key],
        env={**os.environ, **python_path()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Exception ignored" not in said, said
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert all(outcome.pop("works").values()), said
    assert outcome["locked"]["locks"] > 10, "there are more locks than that"
    for way, child in outcome.items():
        assert child["exit"] == 0, (way, said)
        wrong = {
            name: came
            for name, came in child["came"].items()
            if came != _INERT.get(name, "ForkedStore")
        }
        assert not wrong, way
        assert len(child["came"]) > 60, way
