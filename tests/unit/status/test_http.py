"""The status server as a server of HTTP/1.1: requests of every kind, and what it answers."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from leadership_core import Follower, open_store
from leadership_core.status import StatusServer, serve
from leadership_core.status.requests import LONGEST_HEAD, BadRequest, Request, take_request
from tests.unit.status.client import ask, connect, exchange, parse

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
END = b"\r\n"
CLOSE = b"Connection: close\r\n\r\n"


def test_responses_carry_the_headers_that_protect_them(server: StatusServer) -> None:
    """No answer is cached, sniffed or framed, and no script or style but ours is run."""
    for path in ("/", "/leader", "/livez", "/app.js", "/nothing"):
        headers = ask(server, path).headers

        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/timeline.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
def test_files_of_the_page_are_served(path: str, kind: str, server: StatusServer) -> None:
    """Each file has its type and its length."""
    answer = ask(server, path)

    assert answer.status == 200
    assert answer.headers["content-type"] == kind
    assert int(answer.headers["content-length"]) == len(answer.body) > 100


@pytest.mark.parametrize(
    "path", ["/nothing", "/static/app.js", "/../app.js", "/%2e%2e/x", "/livez/"]
)
def test_other_paths_are_not_found(path: str, server: StatusServer) -> None:
    """A path is compared as a whole and never looked up in a folder."""
    answer = ask(server, path)

    assert answer.status == 404
    assert "/livez" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "M-SEARCH"])
def test_only_get_and_head_are_allowed(method: str, server: StatusServer) -> None:
    """Every other method is answered with 405 and the methods that are allowed."""
    answer = ask(server, "/livez", method=method)

    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/leader", "/livez", "/events", "/nothing"])
def test_head_has_the_headers_of_get_and_no_body(path: str, server: StatusServer) -> None:
    """HEAD is answered as GET is, without the body; the stream of events does not begin."""
    answer = ask(server, path, method="HEAD")

    assert answer.body == b""
    if path != "/events":
        assert int(answer.headers["content-length"]) > 0
        assert answer.status == ask(server, path).status


def test_http_1_0_is_closed_and_needs_no_host(server: StatusServer) -> None:
    """A client of HTTP/1.0 gets one answer, and keeps the connection only if it asks for that."""
    once = parse(exchange(server, b"GET /livez HTTP/1.0\r\n\r\n"))
    kept = b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    twice = exchange(server, kept + b"GET /livez HTTP/1.0\r\n\r\n")

    assert (once.status, once.headers["connection"]) == (200, "close")
    assert twice.count(b"HTTP/1.1 200 OK") == 2


def test_connection_serves_pipelined_requests_in_order(server: StatusServer) -> None:
    """Requests that are sent together are answered one after the other."""
    paths = [b"/livez", b"/nothing", b"/leader", b"/readyz"]
    requests = [b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in paths * 20]

    answers = exchange(server, b"".join(requests) + GET + CLOSE)

    statuses = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert len(statuses) == 81
    assert statuses[:4] in ([b"200", b"404", b"200", b"200"], [b"200", b"404", b"200", b"503"])


def test_connection_is_reused(server: StatusServer) -> None:
    """A client may wait for each answer before it sends the next request."""
    with connect(server) as sock:
        for _ in range(20):
            sock.sendall(GET + END)
            received = b""
            while not received.endswith(b"ok\n"):
                received += sock.recv(65536)
            assert b"Connection: keep-alive" in received


def test_request_that_comes_byte_by_byte_is_answered(server: StatusServer) -> None:
    """The parts of a request may come in any number of packets."""
    with connect(server) as sock:
        for byte in GET + CLOSE:
            sock.sendall(bytes([byte]))
        received = b"".join(iter(lambda: sock.recv(65536), b""))

    assert received.endswith(b"ok\n")


def test_client_that_sends_no_more_gets_its_answers(server: StatusServer) -> None:
    """A client may close its side of the connection after the last request."""
    with connect(server) as sock:
        sock.sendall(GET + END + GET + END)
        sock.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: sock.recv(65536), b""))

    assert received.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"hello\n", 400),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET  /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET //evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA\x00: b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /?%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % b"&".join([b"a=1"] * 9), 400),
        (b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 3000), 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: %b\r\n\r\n" % (b"a" * 9000), 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (b"A: b\r\n" * 70), 431),
    ],
)
def test_malformed_requests_are_refused(request_: bytes, status: int, server: StatusServer) -> None:
    """Each is answered with one line, and its connection is closed."""
    answer = parse(exchange(server, request_))

    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert len(answer.text) < 100


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 405),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", 200),
        (b"GET /", 414),
        (b"", 414),
    ],
)
def test_request_of_a_megabyte_gets_its_answer(
    head: bytes, status: int, server: StatusServer
) -> None:
    """The client can read the answer although it has sent far more than was read."""
    with connect(server) as sock:
        with suppress(ConnectionError):  # cut off in the midst of it
            sock.sendall(head + b"a" * 1_000_000)
        received = b"".join(iter(lambda: sock.recv(65536), b""))

    assert parse(received).status == status
    assert received.count(b"HTTP/1.1") == 1, "a body is no request"


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "a.localhost"],
)
def test_loopback_names_are_accepted(host: str, server: StatusServer) -> None:
    """A request whose Host names this machine is answered."""
    assert ask(server, "/livez", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example",
     "10.0.0.1", "", "[::1", "localhost/", "a b", "localhost@evil.example", "xn--localhost"],
)  # fmt: skip
def test_foreign_names_are_refused_on_the_loopback_address(host: str, server: StatusServer) -> None:
    """A page of another site that has let its name resolve to 127.0.0.1 reads nothing."""
    answer = ask(server, "/leader", host=host)

    assert answer.status == 421
    assert b"node-1" not in answer.body


def test_absolute_target_overrides_the_host(server: StatusServer) -> None:
    """The host of an absolute target counts, as RFC 9112 demands."""
    foreign = b"GET http://evil.example/leader HTTP/1.1\r\nHost: localhost\r\n" + CLOSE
    own = b"GET http://localhost/livez HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE

    assert parse(exchange(server, foreign)).status == 421
    assert parse(exchange(server, own)).status == 200


def test_ipv6_is_served() -> None:
    """A server on ::1 has a URL with brackets, and answers there."""
    with (
        open_store("memory://") as store,
        serve([Follower(store, "key")], host="::1") as server,
        connect(server, "::1") as sock,
    ):
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: [::1]:%d\r\n" % server.port + CLOSE)
        received = b"".join(iter(lambda: sock.recv(65536), b""))

    assert server.url == f"http://[::1]:{server.port}/"
    assert received.endswith(b"ok\n")


def test_metrics_say_how_to_get_them(server: StatusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus-client `/metrics` is not found, and names the extra to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    answer = ask(server, "/metrics")

    assert answer.status == 404
    assert "leadership[prometheus]" in answer.text


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=8))
def test_parser_accepts_or_refuses_any_bytes(data: bytes, cuts: list[int]) -> None:
    """Any bytes, in any parts, give requests or a refusal; the parts make no difference."""

    def parse_all(chunks: list[bytes]) -> list[Request | int]:
        buffer, found = bytearray(), list[Request | int]()
        for chunk in chunks:
            buffer += chunk
            while True:
                try:
                    request = take_request(buffer)
                except BadRequest as error:
                    return [*found, error.status]
                if request is None:
                    break
                found.append(request)
        return found

    for prefix in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /?", b"GET / HTTP/1.1\r\n"):
        whole = prefix + data + b"\r\n\r\n"
        chunks, rest = [], whole
        for cut in cuts:
            chunks.append(rest[:cut])
            rest = rest[cut:]

        assert parse_all([*chunks, rest]) == parse_all([whole])


@given(st.integers(0, 40), st.binary(max_size=5))
def test_parser_keeps_no_more_than_a_head(count: int, junk: bytes) -> None:
    """What is not a request yet is refused as soon as it is longer than any head may be."""
    buffer = bytearray(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * count + junk * 2000)
    with suppress(BadRequest):
        if take_request(buffer) is None:
            assert len(buffer) < LONGEST_HEAD
