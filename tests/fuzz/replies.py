"""Wrong replies: mutations of documents and of HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.hostile_server import Request, Wire, answer

__all__ = ["Reply", "documents", "replies"]

_LEAVES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 2**63, 2**64, 10**30, 0.5, -0.0, float("inf"), float("-inf"),
    float("nan"), "", "x", "0", "-5", "1e9", "15s", "0s", "-1s", "9000000h", "9" * 400 + "h", "1ns",
    "\ud800", "\x00", "Ünïcode", "a" * 3000, "/../..", "a b\r\nX: y", "====", "eHg=", [], {}, [[]],
    [None], [1], [{}], {"": {}}, [[], {}], {"Key": "x"}, {"KV": None},
]  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """One wrong reply: its name, and a function that sends it in place of a valid one."""

    name: str
    send: Callable[[tuple[str, Any, dict[str, str]], Request, Wire], bool]

    def __repr__(self) -> str:
        return self.name


def encoded(document: Any) -> bytes:
    return b"" if document is None else json.dumps(document).encode("utf-8", "surrogatepass")


def _mutated(document: Any, way: list[int], leaf: Any, *, drop: bool) -> Any:
    """A copy of the document with one part replaced by the leaf, or dropped."""
    if not isinstance(document, dict | list) or not document or not way:
        return leaf
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    at = keys[way[0] % len(keys)]
    copy: Any = dict(document) if isinstance(document, dict) else list(document)
    if len(way) == 1 or not isinstance(document[at], dict | list):
        if drop:
            del copy[at]
        else:
            copy[at] = leaf
        return copy
    copy[at] = _mutated(document[at], way[1:], leaf, drop=drop)
    return copy


def _document(way: list[int], leaf: Any, drop: bool) -> Reply:
    def send(valid: tuple[str, Any, dict[str, str]], _: Request, wire: Wire) -> bool:
        status, document, headers = valid
        wire.say(answer(status, encoded(_mutated(document, way, leaf, drop=drop)), headers))
        return True

    return Reply(f"document {way} {'dropped' if drop else f'= {leaf!r:.40}'}", send)


def _body(name: str, change: Callable[[bytes], bytes]) -> Reply:
    def send(valid: tuple[str, Any, dict[str, str]], _: Request, wire: Wire) -> bool:
        status, document, headers = valid
        wire.say(answer(status, change(encoded(document)), headers))
        return True

    return Reply(f"body {name}", send)


def _head(name: str, status: str | None = None, **headers: str) -> Reply:
    """Other headers or another status; a wrong length or encoding ends the connection."""

    def send(valid: tuple[str, Any, dict[str, str]], _: Request, wire: Wire) -> bool:
        said, document, good = valid
        extra = {key.replace("_", "-"): value for key, value in headers.items()}
        wire.say(answer(status or said, encoded(document), {**good, **extra}))
        return "Content-Length" not in extra and "Transfer-Encoding" not in extra

    return Reply(f"head {name}", send)


def _bytes(name: str, data: bytes) -> Reply:
    def send(_valid: tuple[str, Any, dict[str, str]], _: Request, wire: Wire) -> bool:
        wire.say(data)
        return False

    return Reply(f"bytes {name}", send)


def _without_index() -> Reply:
    def send(valid: tuple[str, Any, dict[str, str]], _: Request, wire: Wire) -> bool:
        wire.say(answer(valid[0], encoded(valid[1])))
        return True

    return Reply("head without index", send)


def _echo(where: str) -> Reply:
    """A faulty proxy returns the request, with the token."""

    def send(_valid: tuple[str, Any, dict[str, str]], request: Request, wire: Wire) -> bool:
        all_of_it = " ".join(f"{name}: {value}" for name, value in request.headers.items())
        match where:
            case "status":
                wire.say(answer(f"500 {all_of_it}"))
            case "line":
                wire.say(all_of_it.encode() + b"\r\n\r\n")
                return False
            case "header":
                wire.say(answer("200 OK", b"[]", {"X-Echo": all_of_it}))
            case "json":
                wire.say(
                    answer("200 OK", json.dumps([all_of_it]).encode(), {"X-Consul-Index": "3"})
                )
            case "index":
                wire.say(answer("200 OK", b"[]", {"X-Consul-Index": all_of_it}))
            case code:
                wire.say(answer(f"{code} X", all_of_it.encode(), {"X-Consul-Index": "3"}))
        return True

    return Reply(f"echo in {where}", send)


def _endless(name: str, head: bytes, piece: bytes) -> Reply:
    def send(_valid: tuple[str, Any, dict[str, str]], _: Request, wire: Wire) -> bool:
        wire.say(head)
        while True:  # until the client hangs up
            wire.say(piece)

    return Reply(f"endless {name}", send)


_OK = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 3\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"

BODIES = [
    _body("empty", lambda _: b""),
    _body("half", lambda text: text[: len(text) // 2]),
    _body("html", lambda _: b"<html><body>502 Bad Gateway</body></html>"),
    _body("not UTF-8", lambda text: b"\xff\xfe" + text),
    _body("NUL", lambda _: b"\0" * 100),
    _body("deep", lambda _: b"[" * 200_000),
    _body("deep objects", lambda _: b'{"a":' * 100_000),
    _body("twice", lambda text: text + text),
    _body("many digits", lambda _: b"9" * 5000),
    _body("many digits in it", lambda _: b'[{"ModifyIndex": ' + b"9" * 5000 + b"}]"),
    _body("one list more", lambda text: b"[" + text + b"]"),
    _body("item twice", lambda text: b"[" + text.strip(b"[]") + b"," + text.strip(b"[]") + b"]"),
    _body("byte order mark", lambda text: b"\xef\xbb\xbf" + text),
]
STATUSES = [
    _head(f"status {status[:20]}", status)
    for status in (
        "201 Created", "202 Accepted", "204 No Content", "206 Partial Content", "300 X", "301 X",
        "302 X", "304 Not Modified", "307 X", "400 Bad Request", "401 X", "403 Forbidden", "404 X",
        "405 X", "408 X", "409 Conflict", "413 X", "418 X", "429 Too Many", "500 X", "502 X",
        "503 X", "599 X", "600 X", "999 X", "099 X", "12 X", "abc", "", "200", "-200 OK", "2000 OK",
        "200 " + "x" * 70_000,
    )
]  # fmt: skip
HEADERS = [
    _without_index(),
    *[
        _head(f"index {index[:20]}", X_Consul_Index=index)
        for index in ("0", "-1", "1", "", "x", "1.5", "1e9", str(2**64), "9" * 30, "9" * 5000, "٣")
    ],
    *[
        _head(f"length {length[:20]}", Content_Length=length)
        for length in ("0", "1", "-1", "x", "", "100000", "1000000000000", "9" * 30, "9" * 5000)
    ],
    _head("redirect", "301 Moved", Location="http://127.0.0.1:1/"),
    _head("chunked and is not", Transfer_Encoding="chunked"),
    _head("gzip and is not", Content_Encoding="gzip"),
    _head("closes", Connection="close"),
]
STREAMS = [
    _bytes("nothing", b""),
    _bytes("garbage", b"\x00\xff\xfe garbage \r\n\r\n"),
    _bytes("HTTP/0.9", b"<html>"),
    _bytes("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    _bytes("TLS alert", b"\x15\x03\x01\x00\x02\x02\x46"),
    _bytes("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
    _bytes("head only", _OK),
    _bytes("head broken", b"HTTP/1.1 200 OK\r\nX-Cons"),
    _bytes("no colon", b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n[]"),
    _bytes("200 headers", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"),
    _bytes("long header", b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n"),
    _bytes("chunk without size", _CHUNKED + b"\r\n\r\n"),
    _bytes("chunk of -1", _CHUNKED + b"-1\r\n[]\r\n0\r\n\r\n"),
    _bytes("chunk of -5", _CHUNKED + b"-5\r\n[]\r\n0\r\n\r\n"),
    _bytes("chunk too large", _CHUNKED + b"FFFFFFFFFFFFFFFFFFFF\r\n[]\r\n0\r\n\r\n"),
    _bytes("chunk broken off", _CHUNKED + b"5\r\n[]"),
    _bytes("chunk without end", _CHUNKED + b"2\r\n[]\r\n"),
    _bytes("only 100", b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
    _bytes("length twice", _OK + b"Content-Length: 2\r\nContent-Length: 900\r\n\r\n[]"),
]
ECHOES = [_echo(where) for where in ("status", "line", "header", "json", "index", "400", "403", "409", "500")]  # fmt: skip
SLOW = [
    Reply("hangs", lambda _p, _r, wire: wire.hold(30)),
    Reply("resets", lambda _p, _r, wire: wire.reset()),
    Reply("drips", lambda _p, _r, wire: wire.drip(_OK + b"A: b\r\n" * 90, 0.02)),
    Reply(
        "drips a body",
        lambda _p, _r, wire: (
            wire.drip(_OK + b"Content-Length: 500\r\n\r\n" + b" " * 500, 0.02) or False
        ),
    ),
    _endless("body", _OK + b"\r\n[", b"0," * 50_000),
    _endless("chunks", _CHUNKED, b"c350\r\n" + b" " * 50_000 + b"\r\n"),
    _endless("chunk of -1", _CHUNKED + b"-1\r\n", b" " * 50_000),
    _endless("100 Continue", b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    _endless("header", b"HTTP/1.1 200 OK\r\nA: ", b"b" * 50_000),
]

documents = st.builds(
    _document,
    st.lists(st.integers(0, 6), max_size=5),
    st.sampled_from(_LEAVES),
    st.booleans(),
)
"""Documents with one wrong part."""

replies = documents | st.sampled_from([*BODIES, *STATUSES, *HEADERS, *STREAMS, *ECHOES])
"""All replies that are sent at once."""
