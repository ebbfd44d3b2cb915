"""The proxy does to a connection what its methods say."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.conftest import ProxyFactory
from tests.support.servers.consul import Consul
from tests.support.servers.proxy import Proxy

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
    """What is sent into a cut link arrives when the link heals, not before."""
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


def test_hold_delivers_one_piece_late(proxy: ProxyFactory, echo: int) -> None:
    """What carries the mark waits, and what follows it; another connection goes on."""
    through = proxy(echo)
    with _connect(through, _SHORT) as marked, _connect(through) as other:
        assert _say(marked, b"one") == b"one"
        held = through.hold(b"now")
        with pytest.raises(TimeoutError):
            _say(marked, b"two now")
        assert held.caught.wait(5)
        assert _say(other, b"now, too") == b"now, too"

        held.release()
        marked.settimeout(5)
        assert marked.recv(1024) == b"two now"
        assert _say(marked, b"and now") == b"and now"


def test_held_data_arrive_although_their_sender_has_gone(proxy: ProxyFactory) -> None:
    """As on a real network, where a packet may outlive the one who sent it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        through = proxy(listener.getsockname()[1])
        held = through.hold(b"late")
        with _connect(through) as link:
            link.sendall(b"late")
            assert held.caught.wait(5)

        held.release()
        far, _ = listener.accept()
        with far:
            assert far.recv(1024) == b"late"


def test_end_of_a_connection_is_not_seen_through_a_cut(proxy: ProxyFactory, echo: int) -> None:
    """A partition hides that the other side has hung up, until it heals."""
    dead = proxy(echo)
    through = proxy(dead.port)
    with _connect(through, _SHORT) as link:
        assert _say(link, b"one") == b"one"
        through.cut("down")
        dead.refuse()
        with pytest.raises(TimeoutError):
            link.recv(1024)

        through.heal()
        link.settimeout(5)
        assert link.recv(1024) == b""


def test_cut_of_one_side_leaves_the_others_alone(echo: int) -> None:
    """Whose connection it is follows from the port that it comes from."""
    near: dict[int, str] = {}
    with (
        Proxy(echo, side_of=lambda port: near.get(port, "")) as through,
        socket.socket() as ann,
        socket.socket() as ben,
    ):
        for who, link in (("ann", ann), ("ben", ben)):
            link.bind(("127.0.0.1", 0))
            near[link.getsockname()[1]] = who
            link.connect(("127.0.0.1", through.port))
            link.settimeout(_SHORT)
        through.cut(side="ann")

        with pytest.raises(TimeoutError):
            _say(ann, b"one")
        assert _say(ben, b"one") == b"one"
