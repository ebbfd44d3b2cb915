"""The link does to a connection what its methods say, below TCP where they say so."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.admin_tools import kazoo_client
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.link import Link
from tests.support.servers.network_namespace import NetworkNamespace
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import at_most

pytestmark = pytest.mark.slow

_SHORT = 0.2  # seconds that a test listens to silence


@pytest.fixture
def link() -> Iterator[Link]:
    """A link to a server that sends back whatever it is sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    with Link(listener.getsockname()[1]) as link:
        yield link
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            link, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=(link,), daemon=True).start()


def _echo(link: socket.socket) -> None:
    with link:
        try:
            while data := link.recv(1024):
                link.sendall(data)
        except OSError:
            pass  # reset, as some of the tests want it


def _connect(link: Link, timeout: float = 5.0) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", link.port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _say(sock: socket.socket, word: bytes) -> bytes:
    sock.sendall(word)
    return sock.recv(1024)


def _unacknowledged(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24]  # tcpi_unacked


def test_swallowed_packets_are_not_acknowledged(link: Link) -> None:
    """Connections hang, old and new; after it has healed, TCP itself delivers what was lost."""
    with _connect(link) as sock:
        assert _say(sock, b"one") == b"one"
        link.swallow()
        sock.settimeout(_SHORT)
        with pytest.raises(TimeoutError):
            _say(sock, b"two")
        assert _unacknowledged(sock) == 1
        with pytest.raises(TimeoutError):
            _connect(link, _SHORT)

        link.heal()
        sock.settimeout(5)
        assert sock.recv(1024) == b"two"
        _connect(link).close()


def test_lossy_link_delivers_everything_late(link: Link) -> None:
    """Nothing is lost for good, and some of it has been sent again."""
    link.lose(0.4)
    with _connect(link, 30) as sock:
        began = time.monotonic()
        for number in range(8):
            word = str(number).encode()
            assert _say(sock, word) == word

        assert time.monotonic() - began > 0.2


def test_vanished_connections_stay_silent_and_new_ones_work(link: Link) -> None:
    """Forgotten connections stay silent; healing the link does not bring them back."""
    with _connect(link) as idle:
        assert _say(idle, b"one") == b"one"
        time.sleep(_SHORT)
        with _connect(link) as busy:
            assert _say(busy, b"one") == b"one"

            link.vanish(idle=_SHORT)

            assert _say(busy, b"two") == b"two"
            link.heal()
            idle.settimeout(_SHORT)
            with pytest.raises(TimeoutError):
                _say(idle, b"two")
        with _connect(link) as new:
            assert _say(new, b"new") == b"new"


def test_thin_link_limits_bandwidth(link: Link) -> None:
    """Half a second for a thousand bytes each way."""
    link.thin(4000)
    with _connect(link) as one, _connect(link) as two:
        began = time.monotonic()
        one.sendall(b"x" * 1000)
        two.sendall(b"x" * 1000)
        for sock in (one, two):
            left = 1000
            while left:
                left -= len(sock.recv(1024))

        assert time.monotonic() - began >= 0.5


def test_delay_is_equal_for_pipelined_data(link: Link) -> None:
    """What is sent a moment later comes a moment later."""
    link.delay = 0.2
    with _connect(link) as sock:
        began = time.monotonic()
        sock.sendall(b"one")
        time.sleep(0.1)
        sock.sendall(b"two")
        assert sock.recv(1024) == b"one"
        assert sock.recv(1024) == b"two"

        assert 0.5 <= time.monotonic() - began < at_most(0.6)


def test_withheld_answer_is_delivered_on_release(link: Link) -> None:
    """The request arrives; what it is answered waits, on that connection only."""
    with _connect(link) as sock, _connect(link) as other:
        withheld = link.withhold(b"two")
        assert _say(sock, b"one") == b"one"
        sock.settimeout(_SHORT)
        with pytest.raises(TimeoutError):
            _say(sock, b"two")
        assert withheld.asked.is_set()
        assert _say(other, b"two") == b"two"

        withheld.release()
        sock.settimeout(5)
        assert sock.recv(1024) == b"two"
        assert _say(sock, b"two") == b"two"


def test_requests_are_counted_in_each_protocol(
    consul: Consul, shared_etcd: Etcd, shared_zookeeper: ZooKeeper
) -> None:
    """Those of HTTP, of gRPC and of ZooKeeper, with their times."""
    with Link(consul.port) as link:
        near = Consul(consul.binary, "127.0.0.1", link.port, token=consul.token)
        for _ in range(3):
            assert near.request("GET", "/v1/status/leader").status == 200
        assert link.most_within(5) == 3
    with Link(shared_etcd.port) as link:
        Etcd(shared_etcd.etcdctl, "127.0.0.1", link.port).cli("get", "nothing")
        assert link.most_within(5) == 1
    with (
        Link(shared_zookeeper.port) as link,
        kazoo_client(ZooKeeper("127.0.0.1", link.port, shared_zookeeper.tick)) as client,
    ):
        for _ in range(3):
            client.exists("/nothing")
        assert link.most_within(5) == 3


@pytest.mark.skipif(not NetworkNamespace.is_possible(), reason="a network of its own needs root")
def test_interface_down_loses_packets(link: Link) -> None:
    """Inside, the link is the only way out; while it is down, nothing gets anywhere."""
    with NetworkNamespace() as space, Link(link.port, space=space) as inner:
        connect = f"import socket; socket.create_connection(('127.0.0.1', {inner.port}), {_SHORT})"
        words = [*space.words, sys.executable, "-c", connect]
        assert subprocess.run(words, check=False).returncode == 0
        with pytest.raises(ConnectionRefusedError):
            _connect(inner)

        space.down()
        failed = subprocess.run(words, capture_output=True, check=False)
        assert b"TimeoutError" in failed.stderr

        space.up()
        assert subprocess.run(words, check=False).returncode == 0
