"""etcd's grpc-proxy, which is refused because it renews leases by itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadership_core import Candidate, open_store
from leadership_core.errors import StoreRefused
from tests.support.servers.etcd import Etcd
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.requirements import found

WORDS = r"grpc-proxy.*put the addresses of the etcd servers into the URL"


@pytest.fixture
def proxy(shared_etcd: Etcd, tmp_path: Path) -> Iterator[int]:
    """The port of a grpc-proxy before the shared etcd."""
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


def test_grpc_proxy_is_refused(proxy: int) -> None:
    """No request is sent through it, and the message names the cure."""
    with open_store(f"etcd://127.0.0.1:{proxy}") as store:
        with pytest.raises(StoreRefused, match=WORDS):
            store.get("proxy/key")
        candidate = Candidate(store, "proxy/election", "me", ttl=10.0)
        with pytest.raises(StoreRefused, match=WORDS):
            candidate.wait_elected(5.0)


def test_etcd_beside_grpc_proxy_is_used(proxy: int, shared_etcd: Etcd) -> None:
    """The proxy counts as an endpoint that does not work."""
    with (
        open_store(f"etcd://127.0.0.1:{proxy},{shared_etcd.host}:{shared_etcd.port}") as store,
        Candidate(store, "proxy/beside", "me", ttl=10.0).leading(10.0) as term,
    ):
        assert term.token > 0
