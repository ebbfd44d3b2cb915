"""The proxy that comes with etcd: it renews leases at times of its own, so nobody can lead through it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadership_core import Candidate, open_store
from leadership_core.errors import StoreRefused
from tests.servers.etcd import Etcd
from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.wanted import found

WORDS = r"grpc-proxy.*put the addresses of the etcd servers into the URL"


@pytest.fixture
def proxy(shared_etcd: Etcd, tmp_path: Path) -> Iterator[int]:
    """The port of one before the etcd that all tests share."""
    port = free_port()
    command = [
        found("etcd").paths["etcd"], "grpc-proxy", "start",
        f"--endpoints={shared_etcd.host}:{shared_etcd.port}", f"--listen-addr=127.0.0.1:{port}",
    ]  # fmt: skip
    process = Process(command, tmp_path / "proxy.log")
    process.start()
    try:
        process.wait_until(lambda: _accepts(port), 10.0)
        yield port
    finally:
        process.kill()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def test_a_grpc_proxy_is_refused(proxy: int) -> None:
    """Before anything is sent through it, with a sentence that says what to do."""
    with open_store(f"etcd://127.0.0.1:{proxy}") as store:
        with pytest.raises(StoreRefused, match=WORDS):
            store.get("proxy/key")
        candidate = Candidate(store, "proxy/race", "me", ttl=10.0)
        with pytest.raises(StoreRefused, match=WORDS):
            candidate.wait_elected(5.0)


def test_an_etcd_beside_it_is_used(proxy: int, shared_etcd: Etcd) -> None:
    """The proxy counts as an endpoint that does not work."""
    with (
        open_store(f"etcd://127.0.0.1:{proxy},{shared_etcd.host}:{shared_etcd.port}") as store,
        Candidate(store, "proxy/beside", "me", ttl=10.0).leading(10.0) as term,
    ):
        assert term.token > 0
