"""Start and end of the status server: threads, sockets, forks, exits, and the stores it shows."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    Follower,
    LeadershipError,
    Store,
    StoreClosed,
    open_store,
)
from leadership_core.status import StatusServer, serve
from tests.support.paths import ROOT
from tests.support.waiting import at_most, wait_until
from tests.unit.status.client import ask, connect, listening, open_sockets, wait_for_leader


def _threads() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("leadership-status")}


def test_server_has_one_thread_and_leaves_none(store: Store) -> None:
    """One thread serves everything; it ends with the server, and so do all connections."""
    with serve([Candidate(store, f"key/{n}", "node-1", ttl=6) for n in range(20)]) as server:
        threads = _threads()
        with listening(server) as client, connect(server) as idle:
            client.wait(lambda one: one["id"] == 19)
            server.close()
            rest = list(client)
            ended = idle.recv(1)

    assert threads == {"leadership-status"}
    assert isinstance(rest, list)
    assert ended == b""
    wait_until(lambda: not _threads())
    with pytest.raises(OSError, match="refused"):
        connect(server)


def test_close_may_be_repeated_and_called_in_a_signal_handler(store: Store) -> None:
    """A signal handler may close it, and a later call of close is harmless."""
    server = serve([Follower(store, "key")])
    before = signal.signal(signal.SIGUSR2, lambda *_: server.close())
    try:
        signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    server.close()

    with pytest.raises(OSError, match="refused"):
        connect(server)


def test_port_can_be_used_again_at_once(store: Store) -> None:
    """The next server may listen on the same port although clients were connected to the first."""
    first = serve([Follower(store, "key")])
    with connect(first) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(100)
        first.close()
        with serve([Follower(store, "key")], port=first.port) as second:
            assert ask(second, "/livez").status == 200


def test_address_in_use_is_a_configuration_error(server: StatusServer, store: Store) -> None:
    """The message names the address and the reason; nothing is left open."""
    with pytest.raises(ConfigurationError, match=f"port {server.port}: Address already in use"):
        serve([Follower(store, "key")], port=server.port)


@pytest.mark.parametrize(
    ("host", "port"),
    [("", 0), ("nowhere.invalid", 0), ("127.0.0.1", -1), ("127.0.0.1", 65536), ("a\0b", 0),
     ("x" * 300, 0), (None, 0), ("127.0.0.1", "80")],
)  # fmt: skip
def test_useless_addresses_are_configuration_errors(host: str, port: int, store: Store) -> None:
    """An empty host is refused, too, because elsewhere it means all addresses."""
    with pytest.raises(ConfigurationError):
        serve([Follower(store, "key")], host, port)


def test_address_beyond_this_machine_is_warned_about(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A page that other machines can open is reported in one warning."""
    with serve([Follower(store, "key")]):
        assert "loopback" not in caplog.text
    monkeypatch.setattr("leadership_core.status.server.is_loopback", lambda _: False)
    with serve([Follower(store, "key")]) as server:
        (record,) = [one for one in caplog.records if "loopback" in one.getMessage()]

    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(server.url)


def test_closed_store_is_refused() -> None:
    """A server for a store that is closed is refused, and leaves nothing open."""
    with open_store("memory://") as store:
        candidate = Candidate(store, "key", "node-1", ttl=6)
    with pytest.raises(StoreClosed):
        serve([candidate])


def test_thread_that_cannot_be_started_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be started, the call fails, and its sockets are closed."""
    follower = Follower(store, "key")
    follower.events()
    before = open_sockets()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(LeadershipError, match="no thread can be started now"):
        serve([follower])

    assert open_sockets() == before


def test_store_may_be_closed_before_the_server() -> None:
    """The page then says that the candidate has stopped, and that it follows no more."""
    with open_store("memory://") as store:
        candidate = Candidate(store, "key", "node-1", ttl=6)
        server = serve([candidate])
        candidate.start()
        wait_for_leader(server, lambda one: one["me"])
    with server, listening(server) as client:
        shown = client.wait(lambda one: one["stopped"])
        document = ask(server, "/leader").json
        ready = ask(server, "/readyz")
        alive = ask(server, "/livez")

    assert shown["candidates"][0]["state"] == "stopped"
    assert document["me"] is False
    assert (ready.status, alive.status) == (503, 200)


def test_dropped_server_goes_on(store: Store) -> None:
    """What `serve` returns need not be kept: it serves until the program ends."""
    server = serve([Follower(store, "key")])
    port = server.port
    loop = server._loop
    del server
    gc.collect()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert sock.recv(100)
    assert loop.close(5)


def test_forked_child_has_no_server(server: StatusServer) -> None:
    """In the child the sockets are closed, and closing the server has no effect on the parent."""
    with listening(server) as client:
        client.wait(lambda one: one["me"])
        reading, writing = os.pipe()
        ending, hold = os.pipe()
        child = os.fork()
        if child == 0:
            server.close()
            os.close(hold)
            os.write(writing, b"closed" if server.url else b"?")
            os.read(ending, 1)  # lives until the parent says so
            os._exit(0)
        try:
            os.close(ending)
            assert os.read(reading, 10) == b"closed"
            assert ask(server, "/livez").status == 200
            server.close()
            assert list(client) is not None, "the client sees the end although the child lives"
            with socket.create_server(("127.0.0.1", server.port)):
                pass  # the child does not hold the port
        finally:
            os.close(hold)
            os.waitpid(child, 0)
            os.close(reading)
            os.close(writing)


_PROGRAM = """
import sys
from leadership_core import Candidate, open_store
from leadership_core.status import serve

store = open_store("sqlite:///" + sys.argv[1])
candidate = Candidate(store, "key", "node-1", ttl=30)
server = serve([candidate])
assert candidate.wait_elected(5)
print(server.port, flush=True)
sys.stdin.readline()
"""


def test_program_that_falls_off_its_end_leaves_no_trace(quick_folder: Path) -> None:
    """With a client of `/events` connected it exits at once, silently, and has released its claim."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", _PROGRAM, f"{quick_folder}/a.db"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as program:
        try:
            assert program.stdout is not None
            port = int(program.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(1000)
                begun = time.monotonic()
                _, errors = program.communicate(b"\n", timeout=30)
                seconds = time.monotonic() - begun
        finally:
            program.kill()

    with open_store(f"sqlite:///{quick_folder}/a.db") as store:
        leader = store.leader("key")
    assert (program.returncode, errors, leader) == (0, b"", None)
    assert seconds < at_most(4)
