"""The transport: deadlines, failover, foreign answers, and forks."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Protocol

import pytest

from leadership_consul.client import Client
from leadership_consul.options import Options
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.url import StoreURL
from leadership_core.errors import SessionLost, StoreClosed, StoreRefused, StoreUnavailable
from tests.conftest import ConsulFactory, ProxyFactory
from tests.integration.consul.conftest import Opener
from tests.support.servers.consul import Consul
from tests.support.servers.ports import free_port
from tests.support.waiting import at_most, wait_until

Speech = Callable[[socket.socket], None]
SESSION_ID = "1f1b1c1d-0000-0000-0000-000000000000"


def _client(url: str) -> Client:
    return Client(Options.read(StoreURL.parse(url)))


class Network(Protocol):
    """A port where `speech` answers each connection."""

    def __call__(self, speech: Speech) -> int: ...


@contextmanager
def _broken(speech: Speech) -> Iterator[int]:
    """A server that is not Consul: `speech` answers its connections."""
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
def test_slow_answer_keeps_to_the_timeout(opened: Opener, network: Network, body: bytes) -> None:
    """Every byte comes in time and the whole answer does not, in its header and in its body."""
    slow = _drip(b"HTTP/1.1 200 OK\r\nX-Consul-Index: 1\r\n" if not body else b"[" * 500, 0.05)

    def speech(connection: socket.socket) -> None:
        connection.sendall(body)
        slow(connection)

    store = opened(f"consul://127.0.0.1:{network(speech)}")
    began = time.monotonic()

    with call_timeout(0.4), pytest.raises(StoreUnavailable, match="no answer within"):
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
def test_foreign_answer_is_an_unavailable_store(
    opened: Opener, network: Network, speech: Speech
) -> None:
    """Reads, renewals and writes raise the same, whatever a faulty agent or proxy answers."""
    url = f"consul://127.0.0.1:{network(speech)}"
    store = opened(url)

    with pytest.raises(StoreUnavailable):
        store.get("key")
    with pytest.raises(StoreUnavailable):
        store.put("key", b"value")
    with closing(_client(url)) as client, pytest.raises(StoreUnavailable):
        client.renew_session(SESSION_ID)


def test_foreign_404_does_not_end_the_session(opened: Opener, network: Network) -> None:
    """A proxy without its backend answers 404 to every request."""
    url = f"consul://127.0.0.1:{network(_say('404 Not Found', 'no such page'))}"

    with closing(_client(url)) as client, pytest.raises(StoreUnavailable):
        client.renew_session(SESSION_ID)


def test_refused_connection_fails_over_to_the_next_agent(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """It fails over within the same call, and later calls use the second agent first."""
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


def test_agent_without_an_answer_is_not_tried_first_again(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The request may have been applied, so it fails; the next call goes to the other agent."""
    first, second = proxy(consul.port), proxy(consul.port)
    store = opened(f"consul://127.0.0.1:{first.port},127.0.0.1:{second.port}")
    store.put(unique_key, b"1")
    first.cut()

    with call_timeout(0.3), pytest.raises(StoreUnavailable):
        store.get(unique_key)
    with call_timeout(0.3):
        assert store.get(unique_key) is not None

    assert second.count("GET") == 1


def test_agent_without_servers_is_not_tried_first_again(
    consul: Consul, network: Network, opened: Opener, unique_key: str
) -> None:
    """Its 500 is no answer: this request and later ones go to the next agent."""
    broken = network(_say("500 Internal Server Error", "No cluster leader"))
    store = opened(f"consul://127.0.0.1:{broken},127.0.0.1:{consul.port}")

    assert store.get(unique_key) is None
    assert store.put(unique_key, b"1").value == b"1"


def test_write_fails_over_only_without_a_cluster_leader(
    consul: Consul, network: Network, opened: Opener, unique_key: str
) -> None:
    """Only in that case was it certainly not applied."""
    for said, is_done in (("No cluster leader", True), ("leadership lost while committing", False)):
        broken = network(_say("500 Internal Server Error", said))
        store = opened(f"consul://127.0.0.1:{broken},127.0.0.1:{consul.port}")
        if is_done:
            assert store.put(unique_key, b"1").value == b"1"
        else:
            with pytest.raises(StoreUnavailable, match=said):
                store.put(unique_key, b"2")
            assert store.put(unique_key, b"3").value == b"3"


def test_no_agent_is_reachable(opened: Opener) -> None:
    """The error names each address with its reason, and is not a lasting one."""
    ports = free_port(), free_port()
    store = opened(f"consul://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}")

    with pytest.raises(StoreUnavailable, match="Connection refused") as caught:
        store.open_session(10)

    assert not isinstance(caught.value, StoreRefused)
    assert all(str(port) in str(caught.value) for port in ports)
    assert caught.value.__cause__ is not None


def test_unknown_host_is_refused_unless_another_host_works(
    opened: Opener, consul: Consul, unique_key: str
) -> None:
    """An unknown host alone is a lasting error; beside a host that works it is skipped."""
    unknown = "a" * 64  # no label of a host name is that long, so no name server is asked

    with pytest.raises(StoreRefused, match="unknown host"):
        opened(f"consul://{unknown}:8500").get(unique_key)

    assert opened(f"consul://{unknown}:8500,127.0.0.1:{consul.port}").get(unique_key) is None


def test_leadership_is_read_consistently(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """Consul's default read may be answered by a server that has been replaced as the leader."""
    link = proxy(consul.port)
    store = opened(consul.url_at(link.port))
    session = store.open_session(10)
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")

    election.status(claim)
    election.leader()
    store.get(unique_key)
    store.list(unique_key)
    session.close()
    with pytest.raises(SessionLost):
        election.status(claim)

    reads = [line for line in link.requests if line.startswith("GET")]
    assert len(reads) == 8  # one of them reads the name of the entry's session
    assert all("consistent=1" in line for line in reads)


def test_environment_does_not_change_the_agent(
    consul: Consul, opened: Opener, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither py-consul's variables nor those of proxies redirect a request."""
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("CONSUL_HTTP_ADDR", nowhere)
    monkeypatch.setenv("CONSUL_HTTP_SSL", "true")
    monkeypatch.setenv("CONSUL_HTTP_SSL_VERIFY", "false")
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{nowhere}")

    assert opened(consul.url).get(unique_key) is None


def test_restarted_server_is_found_again(
    consul_server: ConsulFactory, opened: Opener, unique_key: str
) -> None:
    """Earlier connections cause no error, and the session is still open."""
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


def test_forked_child_sends_nothing_on_inherited_connections(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """After the fork hook no request begins in the child; the parent uses its connections on."""
    link = proxy(consul.port)
    store = opened(consul.url_at(link.port))
    client = store.client
    store.watch(unique_key, print)
    connection = client.thread_connection()
    client.read(unique_key)
    wait_until(lambda: link.count("wait=10s"))
    connections, requests = link.connections, len(link.requests)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            store.after_fork_in_child()
            with suppress(StoreClosed):
                client.read(unique_key)
                status = 2
            with suppress(StoreClosed):
                client.renew_session(SESSION_ID)
                status = 3
            store.close()
            connection.deadline.abort()
            connection.close()
            status = status if status > 1 else 0
        finally:
            os._exit(status)

    assert os.waitpid(child, 0)[1] == 0
    assert len(link.requests) == requests
    client.read(unique_key)
    assert link.connections == connections


def test_closed_store_raises(consul: Consul, opened: Opener, unique_key: str) -> None:
    """Closing it twice is allowed; every other call raises."""
    store = opened(consul.url)
    store.get(unique_key)
    store.close()
    store.close()

    with pytest.raises(StoreClosed):
        store.get(unique_key)
    with pytest.raises(StoreClosed):
        store.watch(unique_key, print)
