"""Sockets under kazoo: what is read ahead, and the limits of answers that are read together."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from kazoo.protocol.serialization import GetChildren, GetData

from leadership_core.backend.url import StoreURL
from leadership_zookeeper.kazoo_client import new_client
from leadership_zookeeper.monitored_sockets import MonitoredSocket
from leadership_zookeeper.options import Options
from leadership_zookeeper.sockets import (
    MAX_ANSWER,
    MAX_NAMES_ANSWER,
    ConnectionMonitor,
    PingCounter,
)

_RESPONSE = struct.pack("!iiiqi16sb", 37, 0, 4000, 1, 16, b"", 0)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, MonitoredSocket]]:
    """A server's end, and a client's."""
    server, plain = socket.socketpair()
    client = MonitoredSocket(fileno=plain.detach())
    client.monitor = ConnectionMonitor(lambda _: None, lambda _: None, allow_pings=False)
    with server, client:
        client.settimeout(0)
        yield server, client


def test_bytes_are_read_ahead_and_returned_in_pieces(
    pair: tuple[socket.socket, MonitoredSocket],
) -> None:
    """Each piece is as long as it was asked for, at most, and none is lost."""
    server, client = pair
    server.sendall(_RESPONSE + b"\0\0\0\4abcd")

    assert client.recv(4) == _RESPONSE[:4]
    assert client.pending() == len(_RESPONSE) + 4
    assert client.recv(len(_RESPONSE) - 4) == _RESPONSE[4:]
    assert client.recv(100) == b"\0\0\0\4abcd"
    assert client.pending() == 0
    with pytest.raises(BlockingIOError):
        client.recv(4)


def test_end_of_connection_follows_the_bytes_that_were_read_ahead(
    pair: tuple[socket.socket, MonitoredSocket],
) -> None:
    """The server has sent an answer and closed the connection."""
    server, client = pair
    server.sendall(_RESPONSE)
    server.close()

    assert client.recv(30) + client.recv(30) == _RESPONSE
    assert client.recv(30) == b""


def test_names_that_follow_another_answer_may_be_long() -> None:
    """Both answers are on their way, and the second one begins in the bytes of the first."""
    handler: Any = mock.Mock(placeholders="127.0.0.1:1")
    client = new_client(Options.read(StoreURL.parse("zk://localhost")), handler, 4.0, None)
    client._pending.extend(
        [
            (GetData("/a", None), None, 7),
            (GetChildren("/b", None), None, 8),
            (SimpleNamespace(), None, 9),
        ]
    )
    counter = PingCounter(
        lambda xid: MAX_NAMES_ANSWER if client.asks_for_names(xid) else MAX_ANSWER
    )

    counter.count_pings(struct.pack("!ii", 4, 7) + struct.pack("!ii", MAX_ANSWER + 1, 8))

    assert [xid for xid in (7, 8, 9) if client.asks_for_names(xid)] == [8]


def test_requests_are_sent_together_by_flush(
    pair: tuple[socket.socket, MonitoredSocket],
) -> None:
    """Until then the socket keeps them; a ping of kazoo's is dropped."""
    server, client = pair
    server.settimeout(0)
    client.send(b"first")
    client.send(struct.pack("!iii", 8, -2, 11))
    client.send(b"second")
    assert client.unsent == 11
    with pytest.raises(BlockingIOError):
        server.recv(100)

    assert client.flush()

    assert server.recv(100) == b"firstsecond"
    assert client.unsent == 0


def test_flush_keeps_what_the_connection_does_not_take(
    pair: tuple[socket.socket, MonitoredSocket],
) -> None:
    """It goes on where it has stopped."""
    server, client = pair
    sent = bytes(range(256)) * 40_000
    client.send(sent)
    assert not client.flush()
    assert 0 < client.unsent < len(sent)

    received = bytearray()
    while client.unsent:
        received += server.recv(1_000_000)
        client.flush()
    while len(received) < len(sent):
        received += server.recv(1_000_000)

    assert received == sent


def test_only_whole_answers_are_taken(pair: tuple[socket.socket, MonitoredSocket]) -> None:
    """The rest of one is read as kazoo does."""
    server, client = pair
    server.sendall(_RESPONSE + b"\0\0\0\4abcd" + b"\0\0\0\4ef")
    client.read_ahead()

    assert client.take_frame() == _RESPONSE[4:]
    assert client.take_frame() == b"abcd"
    assert client.take_frame() is None
    assert client.recv(100) == b"\0\0\0\4ef"
    server.sendall(b"\xff\xff\xff\xffgh")
    client.read_ahead()
    assert client.take_frame() is None  # a negative length
