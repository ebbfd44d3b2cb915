"""Every kind of object that a forked child inherits, on every store, with every method of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from tests.conftest import ConsulFactory, EtcdFactory, ZooKeeperFactory
from tests.scenarios.conftest import Place
from tests.scenarios.fleet import ROOT

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
    "on_turn.close": "None",
}
"""What is no error in a child; everything else raises `ForkedStore`."""


@pytest.mark.parametrize("kind", ["sqlite", "consul", "etcd", "zookeeper"])
def test_objects_of_a_store_are_inert_in_a_forked_child(place: Place, unique_key: str) -> None:
    """Forked anywhere, also while all locks are held; the parent's objects work on."""
    _check(place.url, unique_key)


def test_objects_of_memory_are_inert_in_a_forked_child(unique_key: str) -> None:
    """The same where the store is the process itself."""
    _check("memory://forked", unique_key)


@pytest.mark.parametrize("kind", ["consul", "etcd", "zookeeper"])
def test_connections_under_tls_survive_a_forked_child(
    kind: str, request: pytest.FixtureRequest, unique_key: str
) -> None:
    """Its end closes its copies: no close_notify goes out, which would end the parent's."""
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
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "tests.scenarios.fork_objects", url, key],
        env={**os.environ, "PYTHONPATH": path},
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
