"""What clients can do to the status server, and that the election does not notice it."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from leadership_core import Candidate, Elected, Lost, Resigned, Suspended, open_store
from leadership_core.status import StatusServer, connection, serve
from tests.support.waiting import at_most, wait_until
from tests.unit.status.client import ask, connect, exchange, open_sockets


@contextmanager
def _many(server: StatusServer, count: int, send: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that have sent these bytes, and then do nothing."""
    with ExitStack() as stack:
        socks = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(0)
            sock.connect_ex(("127.0.0.1", server.port))
            socks.append(sock)
        for sock in socks if send else ():
            with suppress(OSError):
                sock.settimeout(2)
                sock.sendall(send)
        yield socks


def test_election_does_not_notice_a_flood(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 idle connections, slow ones, megabytes and garbage cost no renewal and few descriptors."""
    monkeypatch.setattr(connection, "_REQUEST_SECONDS", 1.5)
    stopped = threading.Event()

    def attack(server: StatusServer) -> None:
        payloads = [b"GET /" + b"a" * 1_000_000, os.urandom(100_000), b"\r\n" * 50_000]
        while not stopped.is_set():
            for payload in payloads:
                with suppress(OSError):
                    exchange(server, payload)

    with (
        open_store(f"sqlite:///{quick_folder}/a.db") as store,
        Candidate(store, "key", "node-1", ttl=5) as candidate,
        serve([candidate]) as server,
    ):
        term = candidate.wait_elected(5)
        assert term is not None
        events = candidate.events()
        before = len(open_sockets())
        attackers = [threading.Thread(target=attack, args=[server]) for _ in range(3)]
        for thread in attackers:
            thread.start()
        least, most, ours = term.remaining(), 0, 0
        try:
            with _many(server, 500), _many(server, 100, b"GET /livez HTTP/1.1\r\nHost: "):
                end = time.monotonic() + 4.0
                while time.monotonic() < end:
                    least = min(least, term.remaining())
                    ours = len(open_sockets()) - before
                    open_ones = [one for one in list(server._loop.connections) if not one.is_closed]
                    most = max(most, len(open_ones))
                    time.sleep(0.02)
        finally:
            stopped.set()
            for thread in attackers:
                thread.join()
        valid = not term.lost
        wait_until(lambda: ask(server, "/livez").status == 200)
        candidate.stop()

    names = [type(one) for one in events]
    assert valid, "the first term goes on"
    assert names.count(Elected) == 1
    assert Suspended not in names
    assert Lost not in names
    assert Resigned in names
    assert least > 1.0, "each renewal came in time"
    assert most <= 64 + 16
    assert ours <= 610 + 64 + 16 + 3 + 3, "ours and theirs, both ends of each connection"


def test_idle_connections_make_room_for_a_probe(server: StatusServer) -> None:
    """A connection that asks for nothing for a second is closed when another one needs its place."""
    with _many(server, 64):
        wait_until(lambda: len(server._loop.connections) == 64)
        wait_until(lambda: ask(server, "/livez").status == 200)


def test_busy_connections_are_not_closed_for_others(server: StatusServer) -> None:
    """With 64 requests under way a further client gets 503, and the connection is closed."""
    with _many(server, 64, b"GET /livez HTTP/1.1\r\nHost: "):
        wait_until(lambda: sum(not one.is_idle for one in server._loop.connections) == 64)
        refused = ask(server, "/livez")

    assert refused.status == 503
    assert refused.headers["retry-after"] == "5"
    assert refused.headers["connection"] == "close"
    wait_until(lambda: ask(server, "/livez").status == 200, what="they are gone, and it is served")


def test_slow_request_is_cut_off_however_steady_it_is(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is for the whole request, and no byte postpones it."""
    monkeypatch.setattr(connection, "_REQUEST_SECONDS", 0.8)
    begun = time.monotonic()
    with connect(server) as sock, suppress(OSError):
        sock.sendall(b"GET /livez HTTP/1.1\r\nA: ")
        while time.monotonic() < begun + 30:
            sock.sendall(b"a")
            sock.settimeout(0.05)
            with suppress(TimeoutError):
                if not sock.recv(1):
                    break

    assert 0.5 < time.monotonic() - begun < at_most(5)


def test_client_that_takes_no_answer_is_cut_off(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that asks again and again and reads nothing is closed at its deadline."""
    monkeypatch.setattr(connection, "_REQUEST_SECONDS", 0.8)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", server.port))
        sock.settimeout(20)
        with pytest.raises(ConnectionError):  # noqa: PT012 - one of the calls is cut off
            while True:
                sock.sendall(b"GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n")

    wait_until(lambda: not server._loop.connections)


def test_idle_connection_is_closed(server: StatusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a further request is closed after a while."""
    monkeypatch.setattr(connection, "_IDLE_SECONDS", 0.3)
    with connect(server) as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b"".join(iter(lambda: sock.recv(65536), b""))

    assert b"Connection: keep-alive" in received


def test_server_survives_a_lack_of_descriptors(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a free descriptor it waits a moment, without a hot loop, and then serves again."""
    calls = 0
    original = socket.socket.accept

    def accept(self: socket.socket) -> object:
        nonlocal calls
        if self is server._loop._listener and calls < 3:
            calls += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return original(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    begun = time.monotonic()
    answer = ask(server, "/livez")

    assert answer.status == 200
    assert calls == 3
    assert time.monotonic() - begun > 1.0, "it has paused each time"


def test_error_in_a_page_closes_one_connection(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in one answer is logged, and the server goes on."""
    monkeypatch.setattr("leadership_core.status.pages.leader", lambda *_: 1 / 0)

    broken = exchange(server, b"GET /leader HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert broken == b""
    assert ask(server, "/livez").status == 200
    assert "status.request_failed" in caplog.text
