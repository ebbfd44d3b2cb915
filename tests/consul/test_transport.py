"""Deadlines, failover and errors of the way to the agents."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import pytest

from leadership_core.budget import budget
from leadership_core.errors import SessionLost, StoreClosed, StoreRefused, StoreUnavailable
from tests.conftest import ConsulFactory, ProxyFactory
from tests.consul.conftest import Opener
from tests.servers.consul import Consul
from tests.servers.ports import free_port
from tests.support.machine import at_most

Speech = Callable[[socket.socket], None]


class Network(Protocol):
    """Listens on a port, and lets `speech` answer each connection."""

    def __call__(self, speech: Speech) -> int: ...


@contextmanager
def _broken(speech: Speech) -> Iterator[int]:
    """A network that is not Consul: it takes connections, and says what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        speech(connection)
                    except OSError:
                        pass  # the client has given up

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def network() -> Iterator[Network]:
    with ExitStack() as stack:
        yield lambda speech: stack.enter_context(_broken(speech))


def _drip(text: bytes, every: float) -> Speech:
    def speech(connection: socket.socket) -> None:
        for number in range(len(text)):
            connection.sendall(text[number : number + 1])
            time.sleep(every)

    return speech


def _say(status: str, body: str, headers: str = "") -> Speech:
    text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n{body}"
    return lambda connection: connection.sendall(text.encode())


@pytest.mark.parametrize("body", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"])
def test_an_answer_that_drips_in_takes_no_longer_than_the_budget(
    opened: Opener, network: Network, body: bytes
) -> None:
    """Every byte comes in time, the answer does not: in its head, and in its body."""
    slow = _drip(b"HTTP/1.1 200 OK\r\nX-Consul-Index: 1\r\n" if not body else b"[" * 500, 0.05)

    def speech(connection: socket.socket) -> None:
        connection.sendall(body)
        slow(connection)

    store = opened(f"consul://127.0.0.1:{network(speech)}")
    began = time.monotonic()

    with budget(0.4), pytest.raises(StoreUnavailable, match="no answer within"):
        store.get("key")

    assert 0.3 < time.monotonic() - began < at_most(0.7)


@pytest.mark.parametrize(
    "speech",
    [
        _say("200 OK", "<html>", "X-Consul-Index: 5\r\n"),
        _say("200 OK", '"text"', "X-Consul-Index: 5\r\n"),
        _say("200 OK", '[{"Key": "key"}]', "X-Consul-Index: 5\r\n"),
        _say("200 OK", "[1]", "X-Consul-Index: 5\r\n"),
        _say("200 OK", "[]"),
        _say("301 Moved", "", "Location: http://127.0.0.1:1/\r\n"),
        _say("429 Too Many Requests", ""),
        _say("500 Internal Server Error", "No cluster leader"),
        _say("503 Service Unavailable", ""),
        lambda connection: connection.sendall(b"garbage\r\n\r\n"),
        lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n["),
        lambda _: None,
    ],
)
def test_what_is_no_answer_of_consul_is_an_unavailable_store(
    opened: Opener, network: Network, speech: Speech
) -> None:
    """Whatever a broken agent or a proxy says: reads, renewals and writes raise the same."""
    store = opened(f"consul://127.0.0.1:{network(speech)}")

    with pytest.raises(StoreUnavailable):
        store.get("key")
    with pytest.raises(StoreUnavailable):
        store.put("key", b"value")
    with pytest.raises(StoreUnavailable):
        store._client.renew_session("1f1b1c1d-0000-0000-0000-000000000000")


def test_a_404_that_is_not_about_a_session_does_not_end_it(
    opened: Opener, network: Network
) -> None:
    """A proxy that has lost its backend answers 404 to everything."""
    store = opened(f"consul://127.0.0.1:{network(_say('404 Not Found', 'no such page'))}")

    with pytest.raises(StoreUnavailable):
        store._client.renew_session("1f1b1c1d-0000-0000-0000-000000000000")


def test_the_next_agent_takes_what_the_first_refuses(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """A refused connection is passed over in the same call, and afterwards not tried first."""
    first, second = proxy(consul.port), proxy(consul.port)
    store = opened(f"consul://127.0.0.1:{first.port},127.0.0.1:{second.port}")
    entry = store.put(unique_key, b"1")
    assert second.connections == 0

    first.refuse()
    assert store.get(unique_key) == entry
    first.listen()
    assert store.get(unique_key) == entry

    assert second.connections == 1
    assert first.count("GET") == 0


def test_an_agent_that_does_not_answer_is_not_asked_first_again(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The request may have landed, so it fails; the next call goes to the other agent."""
    first, second = proxy(consul.port), proxy(consul.port)
    store = opened(f"consul://127.0.0.1:{first.port},127.0.0.1:{second.port}")
    store.put(unique_key, b"1")
    first.cut()

    with budget(0.3), pytest.raises(StoreUnavailable):
        store.get(unique_key)
    with budget(0.3):
        assert store.get(unique_key) is not None

    assert second.count("GET") == 1


def test_an_agent_without_servers_is_not_asked_first_again(
    consul: Consul, network: Network, opened: Opener, unique_key: str
) -> None:
    """A 500 of its own is no answer: the request goes to the next agent, as later ones do."""
    broken = network(_say("500 Internal Server Error", "No cluster leader"))
    store = opened(f"consul://127.0.0.1:{broken},127.0.0.1:{consul.port}")

    assert store.get(unique_key) is None
    assert store.put(unique_key, b"1").value == b"1"


def test_a_write_goes_to_the_next_agent_where_the_first_has_no_leader(
    consul: Consul, network: Network, opened: Opener, unique_key: str
) -> None:
    """It was surely not done there; with any other trouble of the agent's it may have been."""
    for said, is_done in (("No cluster leader", True), ("leadership lost while committing", False)):
        broken = network(_say("500 Internal Server Error", said))
        store = opened(f"consul://127.0.0.1:{broken},127.0.0.1:{consul.port}")
        if is_done:
            assert store.put(unique_key, b"1").value == b"1"
        else:
            with pytest.raises(StoreUnavailable, match=said):
                store.put(unique_key, b"2")
            assert store.put(unique_key, b"3").value == b"3"


def test_no_agent_at_all(opened: Opener) -> None:
    """Each address is named with its trouble, and entering an election has written nothing."""
    ports = free_port(), free_port()
    store = opened(f"consul://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}")

    with pytest.raises(StoreUnavailable, match="Connection refused") as caught:
        store.open_session(10)

    assert not isinstance(caught.value, StoreRefused)
    assert all(str(port) in str(caught.value) for port in ports)
    assert caught.value.__cause__ is not None


def test_a_host_that_nobody_knows(opened: Opener, consul: Consul, unique_key: str) -> None:
    """Alone it is refused, which retrying does not mend; beside one that works it is passed over."""
    unknown = "a" * 64  # no label of a host name is that long, so no name server is asked

    with pytest.raises(StoreRefused, match="unknown host"):
        opened(f"consul://{unknown}:8500").get(unique_key)

    assert opened(f"consul://{unknown}:8500,127.0.0.1:{consul.port}").get(unique_key) is None


def test_what_belief_depends_on_is_read_consistently(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """Consul's default may be answered by a server that has been replaced as the leader."""
    link = proxy(consul.port)
    store = opened(consul.url_at(link.port))
    session = store.open_session(10)
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    election.standing(claim)
    election.leader()
    store.get(unique_key)
    store.list(unique_key)
    session.close()
    with pytest.raises(SessionLost):
        election.standing(claim)

    reads = [line for line in link.requests if line.startswith("GET")]
    assert len(reads) == 8  # one of them asks whose session the entry is bound to
    assert all("consistent=1" in line for line in reads)


def test_the_environment_has_no_say(
    consul: Consul, opened: Opener, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither py-consul's variables nor proxies lead a request away from the URL's agent."""
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("CONSUL_HTTP_ADDR", nowhere)
    monkeypatch.setenv("CONSUL_HTTP_SSL", "true")
    monkeypatch.setenv("CONSUL_HTTP_SSL_VERIFY", "false")
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{nowhere}")

    assert opened(consul.url).get(unique_key) is None


def test_a_restarted_server_is_found_again(
    consul_server: ConsulFactory, opened: Opener, unique_key: str
) -> None:
    """The connections that are left over from before do no harm, and the session still lives."""
    server = consul_server()
    store = opened(server.url)
    session = store.open_session(10)
    store.put(unique_key, b"1")
    server.kill()
    with pytest.raises(StoreUnavailable):
        store.get(unique_key)

    server.start()

    assert store.get(unique_key) is not None
    assert session.renew() == 10
    session.close()


def test_a_forked_child_leaves_the_connections_alone(
    consul: Consul, opened: Opener, unique_key: str
) -> None:
    """Ending the child, and even cutting the lines in it, does not break the parent's requests."""
    store = opened(consul.url)
    store.put(unique_key, b"1")
    (lane,) = store._client._transport._lanes
    connection = lane.line._socket
    child = os.fork()
    if child == 0:
        lane.line.cut()
        lane.close()
        os._exit(0)
    os.waitpid(child, 0)

    assert store.get(unique_key) is not None

    assert lane.line._socket is connection


def test_a_closed_store_says_so(consul: Consul, opened: Opener, unique_key: str) -> None:
    """Closing twice is fine; everything else raises."""
    store = opened(consul.url)
    store.get(unique_key)
    store.close()
    store.close()

    with pytest.raises(StoreClosed):
        store.get(unique_key)
    with pytest.raises(StoreClosed):
        store.watch(unique_key, print)
