"""The fault proxy before an echo server: the effect of each outage on connections."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from leadership_core import ConfigurationError
from leadership_core.backend.url import Host
from leadership_core.testing import FaultProxy, Outage


class Echo(socketserver.BaseRequestHandler):
    """Keeps what it receives, and sends it back."""

    received = bytearray()

    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.received += data
            self.request.sendall(data)


@pytest.fixture
def server() -> Iterator[Host]:
    """The address of the echo server."""
    Echo.received.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield Host("127.0.0.1", server.server_address[1])
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: Host) -> Iterator[FaultProxy]:
    with FaultProxy([server]) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        assert echoed(client, b"before") == b"before"
        yield client


def connected(proxy: FaultProxy) -> socket.socket:
    (host,) = proxy.hosts
    return socket.create_connection((host.name, host.port), timeout=5)


def echoed(client: socket.socket, data: bytes, within: float = 5.0) -> bytes | None:
    """Send these bytes, and return the answer; None if there is none in time."""
    client.settimeout(within)
    client.sendall(data)
    try:
        return client.recv(1024)
    except TimeoutError:
        return None


def test_freeze_delivers_bytes_late(proxy: FaultProxy, client: socket.socket) -> None:
    """New connections are accepted without an answer, and all bytes arrive after the outage."""
    proxy.begin(Outage.FREEZE)
    assert echoed(client, b"held", 0.2) is None
    with connected(proxy) as fresh:
        assert echoed(fresh, b"fresh", 0.2) is None
        assert Echo.received == b"before"
        proxy.end()
        assert (client.recv(1024), fresh.recv(1024)) == (b"held", b"fresh")


def test_freeze_delivers_the_request_of_a_closed_client(proxy: FaultProxy) -> None:
    """Tests of late writes rely on it."""
    client = connected(proxy)
    proxy.begin(Outage.FREEZE)
    assert echoed(client, b"late", 0.1) is None
    client.close()
    proxy.end()
    deadline = time.monotonic() + 5
    while Echo.received != b"late":
        assert time.monotonic() < deadline, Echo.received
        time.sleep(0.005)


def test_lost_requests_do_not_arrive(proxy: FaultProxy, client: socket.socket) -> None:
    """They arrive neither during the outage nor after it: their connection is reset."""
    proxy.begin(Outage.REQUESTS_LOST)
    assert echoed(client, b"lost", 0.2) is None
    proxy.end()
    with pytest.raises(ConnectionResetError):
        client.recv(1024)
    assert Echo.received == b"before"


def test_lost_answers_belong_to_requests_that_arrive(
    proxy: FaultProxy, client: socket.socket
) -> None:
    """A connection on which no bytes were lost goes on."""
    with connected(proxy) as quiet:
        assert echoed(quiet, b"1") == b"1"
        proxy.begin(Outage.ANSWERS_LOST)
        assert echoed(client, b"done", 0.2) is None
        assert Echo.received.endswith(b"done")
        proxy.end()
        with pytest.raises(ConnectionResetError):
            client.recv(1024)
        assert echoed(quiet, b"2") == b"2"


def test_reset_breaks_open_connections_once(proxy: FaultProxy, client: socket.socket) -> None:
    """Open connections are broken, and new ones work."""
    proxy.begin(Outage.RESET)
    with pytest.raises(ConnectionResetError):
        client.recv(1024)
    with connected(proxy) as fresh:
        assert echoed(fresh, b"x") == b"x"


def test_refused_connections_are_accepted_after_the_outage(
    proxy: FaultProxy, client: socket.socket
) -> None:
    """They are accepted on the same port, and again after the next outage."""
    for _ in range(2):
        before = proxy.hosts
        proxy.begin(Outage.REFUSE)
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
        proxy.end()
        assert proxy.hosts == before
        with connected(proxy) as fresh:
            assert echoed(fresh, b"x") == b"x"
    with pytest.raises(ConnectionResetError):
        client.recv(1024)


def test_late_outage_delays_both_directions(proxy: FaultProxy, client: socket.socket) -> None:
    """Each direction is delayed by `lateness`."""
    proxy.lateness = 0.1
    proxy.begin(Outage.LATE)
    begun = time.monotonic()
    assert echoed(client, b"slow") == b"slow"
    assert time.monotonic() - begun >= 0.2


def test_proxy_of_a_stopped_server_resets_connections(server: Host) -> None:
    """The proxy does not answer for the server, and several servers have a port each."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        away = Host("127.0.0.1", reserved.getsockname()[1])
        with FaultProxy([server, away]) as proxy:
            up, down = proxy.hosts
            with socket.create_connection((up.name, up.port), timeout=5) as client:
                assert echoed(client, b"x") == b"x"
            with socket.create_connection((down.name, down.port), timeout=5) as client:
                client.settimeout(5)
                with pytest.raises(ConnectionResetError):
                    client.recv(1)


def test_closed_proxy_leaves_no_thread_and_no_connection(server: Host) -> None:
    """Closing works during an outage, too, and may be repeated."""
    before = set(threading.enumerate())
    proxy = FaultProxy([server])
    with proxy, connected(proxy) as client:
        assert echoed(client, b"x") == b"x"
        proxy.begin(Outage.FREEZE)
        proxy.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    proxy.close()
    left = [one.name for one in threading.enumerate() if one not in before]
    assert not [name for name in left if name.startswith("leadership")], left


def test_proxy_rejects_a_server_without_a_port() -> None:
    """It could not forward any connection."""
    for servers in ([], [Host("127.0.0.1")]):
        with pytest.raises(ConfigurationError, match="port of each server"):
            FaultProxy(servers)
