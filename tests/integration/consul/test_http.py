"""HTTP exchanges: answers of every form, whole and in pieces, are read as the standard library reads them."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from contextlib import closing

import pytest

from leadership_consul import http as consul_http
from leadership_consul.http import Answer, exchange, host_header

_OK = b"HTTP/1.1 200 OK\r\n"
_USUAL = (
    _OK
    + b"Content-Type: application/json\r\nVary: Accept-Encoding\r\nX-Consul-Index: 17\r\n"
    + b"Date: Mon, 30 Nov 2026 22:00:00 GMT\r\nContent-Length: 4\r\n\r\nnull"
)
_ANSWERS = {
    "usual": _USUAL,
    "lower case": _USUAL.replace(b"Content-Length", b"content-length"),
    "spaces around values": _USUAL.replace(b": 17", b":\t 17").replace(b": 4", b":4"),
    "conflict": _USUAL.replace(b"200 OK", b"409 Conflict"),
    "no reason": _USUAL.replace(b"200 OK", b"500"),
    "no index": _USUAL.replace(b"X-Consul-Index", b"X-Other"),
    "another header's name in a value": _OK
    + b"A: Content-Length: 9\r\nContent-Length: 2\r\n\r\n{}",
    "empty": _OK + b"Content-Length: 0\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
    "100 before it": b"HTTP/1.1 100 Continue\r\n\r\n" + _USUAL,
    "closing": _USUAL.replace(b"Vary", b"Connection: close\r\nVary"),
    "HTTP/1.0": _USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "chunked": _OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n",
    "chunked with a length": _OK
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
    "two lengths": _OK + b"Content-Length: 2\r\nContent-Length: 900\r\n\r\n[]",
    "folded line": _OK + b"A: b\r\n Content-Length: 1\r\nContent-Length: 2\r\n\r\n[]",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n[]",
    "carriage return in a value": _OK + b"A: b\rContent-Length: 1\r\nContent-Length: 2\r\n\r\n[]",
    "line without a colon": _OK + b"nonsense\r\nContent-Length: 2\r\n\r\n[]",
    "until the end": _OK + b"\r\n[1]",
    "long": _OK + b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000,
    "broken off": _USUAL[:-2],
    "head only": _USUAL[:60],
    "nothing": b"",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "wrong length": _OK + b"Content-Length: -1\r\n\r\n[]",
    "length in other digits": _OK + "Content-Length: ٢\r\n\r\n[]".encode(),
}

Outcome = Answer | type[Exception]


def _by_the_standard_library(text: bytes) -> Outcome:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(text)
        theirs.shutdown(socket.SHUT_WR)
        try:
            with closing(http.client.HTTPResponse(ours, method="GET")) as response:
                response.begin()
                body = response.read()
                index = response.headers.get("X-Consul-Index")
                return Answer(response.status, index, body, response.will_close)
        except (OSError, http.client.HTTPException) as error:
            return type(error)


def _by_an_exchange(*pieces: bytes) -> Outcome:
    ours, theirs = socket.socketpair()
    ended = threading.Event()

    def serve() -> None:
        theirs.recv(65536)
        for piece in pieces:
            theirs.sendall(piece)
            while not ended.is_set() and _unread(ours):  # the next piece is sent when it was read
                pass
        theirs.shutdown(socket.SHUT_WR)

    with ours, theirs:
        ours.settimeout(10)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return exchange(ours, "GET", "/v1/kv/key", {"Host": "h"}, None)
        except (OSError, http.client.HTTPException) as error:
            return type(error)
        finally:
            ended.set()
            thread.join()


def _unread(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


@pytest.mark.parametrize("text", _ANSWERS.values(), ids=_ANSWERS)
def test_answer_is_read_as_by_the_standard_library(text: bytes) -> None:
    assert _by_an_exchange(text) == _by_the_standard_library(text)


@pytest.mark.parametrize(
    "name", ["usual", "conflict", "empty", "chunked", "closing", "100 before it"]
)
def test_answer_in_two_pieces_is_read_as_whole(name: str) -> None:
    text = _ANSWERS[name]
    expected = _by_the_standard_library(text)
    for at in (*range(1, len(text), 7), *range(len(text) - 5, len(text))):
        assert _by_an_exchange(text[:at], text[at:]) == expected, at


def test_usual_answer_needs_no_message_of_the_standard_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(consul_http, "HTTPResponse")

    assert _by_an_exchange(_USUAL) == Answer(200, "17", b"null", closes=False)


def test_connection_with_bytes_after_the_answer_is_not_used_again() -> None:
    assert _by_an_exchange(_USUAL + _USUAL) == Answer(200, "17", b"null", closes=True)


def test_request_is_one_packet_with_its_length() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.sendall(_USUAL)
        exchange(ours, "PUT", "/v1/txn?dc=a", {"Host": "h:1", "X-Consul-Token": "t"}, b"[1]")
        asked = theirs.recv(65536)

        theirs.sendall(_USUAL)
        exchange(ours, "PUT", "/v1/session/renew/a", {"Host": "h:1"}, b"")
        renewal = theirs.recv(65536)

    assert asked == (
        b"PUT /v1/txn?dc=a HTTP/1.1\r\nHost: h:1\r\nX-Consul-Token: t\r\nContent-Length: 3\r\n\r\n[1]"
    )
    assert renewal.endswith(b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("consul.example", "consul.example:8500"),
        ("::1", "[::1]:8500"),
        ("fe80::1%eth0", "[fe80::1]:8500"),
        ("bücher.example", "xn--bcher-kva.example:8500"),
    ],
)
def test_host_header(name: str, header: str) -> None:
    assert host_header(name, 8500) == header
