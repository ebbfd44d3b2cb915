"""The proxy does to a connection what its methods say."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.conftest import ProxyFactory
from tests.servers.consul import Consul
from tests.servers.proxy import Proxy

_SHORT = 0.2  # seconds that a test listens to silence


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back whatever it is sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(link: socket.socket) -> None:
        with link:
            try:
                while data := link.recv(1024):
                    link.sendall(data)
            except OSError:
                pass  # reset, as some of the tests want it

    def serve() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(link,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def _connect(proxy: Proxy, timeout: float = 5.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout)


def _say(link: socket.socket, word: bytes) -> bytes:
    link.sendall(word)
    return link.recv(1024)


def test_proxy_forwards_and_counts(proxy: ProxyFactory, consul: Consul) -> None:
    """Requests pass, and are counted by connection and by line."""
    through = proxy(consul.port)
    near = Consul(consul.binary, "127.0.0.1", through.port, token=consul.token)

    assert near.request("GET", "/v1/status/leader").status == 200
    assert near.request("GET", "/v1/status/peers").status == 200

    assert through.connections == 2
    assert through.requests == ["GET /v1/status/leader", "GET /v1/status/peers"]
    assert through.count("leader") == 1


@pytest.mark.parametrize("way", ["up", "down"])
def test_cut_holds_data_back_until_it_heals(proxy: ProxyFactory, echo: int, way: str) -> None:
    """What is sent into a cut link arrives when the link heals, and nobody is told before."""
    through = proxy(echo)
    with _connect(through, _SHORT) as link:
        assert _say(link, b"one") == b"one"
        through.cut("up" if way == "up" else "down")

        with pytest.raises(TimeoutError):
            _say(link, b"two")

        through.heal()
        link.settimeout(5)
        assert link.recv(1024) == b"two"


def test_reset_breaks_what_is_open_and_nothing_else(proxy: ProxyFactory, echo: int) -> None:
    """An open connection is reset, held back data included; the next one works."""
    through = proxy(echo)
    with _connect(through) as link:
        _say(link, b"one")
        through.cut("up")
        link.sendall(b"lost")
        through.reset()
        with pytest.raises(ConnectionResetError):
            link.recv(1024)

    through.heal()
    with _connect(through) as link:
        assert _say(link, b"two") == b"two"


def test_refuse_looks_like_a_server_that_is_down(proxy: ProxyFactory, echo: int) -> None:
    """Connections are refused until the proxy listens again, on the same port."""
    through = proxy(echo)

    through.refuse()
    with pytest.raises(ConnectionRefusedError):
        _connect(through)
    through.listen()

    with _connect(through) as link:
        assert _say(link, b"back") == b"back"


def test_delay_holds_each_way_back(proxy: ProxyFactory, echo: int) -> None:
    """A round trip takes twice the delay."""
    through = proxy(echo)
    through.delay = 0.05
    with _connect(through) as link:
        before = time.monotonic()
        _say(link, b"slow")

        assert time.monotonic() - before >= 0.1


def test_target_that_is_down_resets_the_client(proxy: ProxyFactory, echo: int) -> None:
    """A connection to a proxy whose target does not listen breaks at once."""
    through = proxy(echo)
    dead = proxy(echo)
    dead.refuse()
    through.target = ("127.0.0.1", dead.port)

    with pytest.raises(ConnectionResetError), _connect(through) as link:
        link.recv(1024)


def test_thread_ends_with_the_proxy(echo: int) -> None:
    """A proxy that is closed, cut or not, leaves no thread and no connection."""
    with Proxy(echo) as through:
        link = _connect(through)
        _say(link, b"one")
        through.cut()
        link.sendall(b"held")

    with pytest.raises(ConnectionResetError):
        link.recv(1024)
    link.close()
    assert not [t for t in threading.enumerate() if t.name == "test-proxy"]
