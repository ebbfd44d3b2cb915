"""Server-sent events of the status server."""

from __future__ import annotations

import socket
import time

import pytest

from leadership_core import Candidate, Follower, open_store
from leadership_core.status import StatusServer, serve, streams
from tests.support.waiting import wait_until
from tests.unit.conftest import Open
from tests.unit.status.client import ask, connect, listening


def test_stream_begins_with_the_present_state(server: StatusServer) -> None:
    """The first message is the whole state, so that a client that reconnects misses nothing."""
    with listening(server) as client:
        head = client.head.decode()
        data = client.wait(lambda one: one["store_answers"])

    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "Content-Type: text/event-stream" in head
    assert "Content-Length" not in head
    assert (data["value"], data["me"], data["id"]) == ("node-1", True, 0)
    assert 0 < data["lease_left"] <= data["lease_full"] <= 5
    assert [one["token"] for one in data["terms"]] == [data["token"]]


def test_stream_reports_each_renewal_and_tells_the_time(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar of the page refills at a renewal, and a page without news knows that it has lost us."""
    monkeypatch.setattr(streams, "_CLOCK_SECONDS", 0.5)
    with listening(server) as client:
        first = client.wait(lambda one: one["lease_left"])
        renewed = client.wait(lambda one: one["lease_left"] > one["lease_full"] - 0.8)
        clock = client.wait(lambda one: True, event="clock")

    assert renewed["token"] == first["token"]
    assert clock["now"] == pytest.approx(time.time(), abs=30)


def test_stream_has_ids_and_heartbeats(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids differ and grow; comments keep proxies from closing a silent connection."""
    monkeypatch.setattr(streams, "_HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr(streams, "_CLOCK_SECONDS", 0.1)
    with listening(server) as client:
        ids = [one.id for one, _ in zip(client, range(8), strict=False)]
        heartbeats = client.comments

    runs, numbers = zip(*(one.split("-") for one in ids), strict=True)
    assert len(set(runs)) == 1
    assert list(map(int, numbers)) == sorted({int(one) for one in numbers})
    assert heartbeats >= 1


def test_stream_reports_changes_of_other_leaders(open_one: Open) -> None:
    """A follower's page shows an election, a resignation and the next leader, in order."""
    with serve([Follower(open_one(), "key")]) as server, listening(server) as client:
        client.wait(lambda one: one["known"] and one["value"] is None)
        with Candidate(open_one(), "key", "node-1", ttl=6) as first:
            led = client.wait(lambda one: one["value"] == "node-1")
            with Candidate(open_one(), "key", "node-2", ttl=6):
                assert first.stop()
                then = client.wait(lambda one: one["value"] == "node-2")

    assert led["me"] is then["me"] is False
    assert led["since_exact"] is True
    assert led["lease_left"] is None
    assert [one["value"] for one in then["terms"]] == ["node-1", "node-2"]
    assert then["terms"][0]["ended"] is not None


def test_slow_client_gets_the_latest_state_and_no_queue(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads nothing costs one message, however much changes, and is disconnected at last."""
    monkeypatch.setattr(streams, "_PULSE_SECONDS", 0.005)
    monkeypatch.setattr(streams, "_MOVED", -1.0)  # each look is a change
    monkeypatch.setattr("leadership_core.status.connection._STALLED_SECONDS", 2.0)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: server._streams._changed)
        (connection,) = server._streams._changed
        longest = 0

        def is_closed() -> bool:
            nonlocal longest
            longest = max(longest, len(connection._to_send))
            return connection.is_closed

        wait_until(is_closed, 30, "its buffers are full, and it is cut off")

    assert 0 < longest < 20_000
    assert ask(server, "/livez").status == 200


def test_streams_leave_room_for_probes(server: StatusServer) -> None:
    """Further clients of `/events` are refused, and probes are answered all the same."""
    socks = [connect(server) for _ in range(40)]
    try:
        for sock in socks:
            sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        statuses = [sock.recv(12)[-3:] for sock in socks]
        probe = ask(server, "/livez")
    finally:
        for sock in socks:
            sock.close()

    assert statuses.count(b"200") == 32
    assert statuses.count(b"503") == 8
    assert probe.status == 200
    wait_until(lambda: len(server._loop.connections) <= 1, what="they are gone")
    with listening(server) as client:
        assert client.wait(lambda one: one["me"])


def test_long_values_are_cut_on_the_page_only() -> None:
    """The page gets the beginning of a value of 64 KiB, and `/leader` all of it."""
    value = "é" * 30_000
    with (
        open_store("memory://") as store,
        Candidate(store, "key", value, ttl=6) as candidate,
        serve([candidate]) as server,
        listening(server) as client,
    ):
        shown = client.wait(lambda one: one["me"])
        whole = ask(server, "/leader").json

    assert whole["value"] == value
    assert shown["value"] == "é" * 200 + "…"
    assert shown["terms"][0]["value"] == shown["value"] == shown["candidates"][0]["value"]


@pytest.mark.parametrize(
    "value", ["</script><script>alert(1)</script>", "\udcff\udc80", "a\r\n\r\nid: 7\n\n"]
)
def test_values_cannot_end_a_message(value: str) -> None:
    """Markup, lone surrogates and line breaks are characters of JSON, in ASCII."""
    with (
        open_store("memory://") as store,
        Candidate(store, "key", value, ttl=6) as candidate,
        serve([candidate]) as server,
        listening(server) as client,
    ):
        shown = client.wait(lambda one: one["me"])
        page = ask(server, "/").body

    assert shown["value"] == value
    assert b"alert(1)</script>" not in page
