"""Answers that are longer than what was asked for can be: refused before the memory is taken."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import pytest

from leadership_etcd.proto import rpc
from tests.cli.command import environment
from tests.fuzz.evil import EvilServer, Request, Wire, answer
from tests.fuzz.evil_etcd import KEY, EvilEtcd, kv
from tests.fuzz.evil_zookeeper import EvilZooKeeper, Said, stat, text
from tests.support.machine import at_most

MIB = 1024**2
Server = Callable[[], AbstractContextManager[Any]]


class Done(NamedTuple):
    """What a request took, and what came of it."""

    megabytes: int
    seconds: float
    said: str


def measure(url: str, doing: str) -> Done:
    """Make the request in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.measure", url, doing],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    used, took, said = done.stdout.rstrip("\n").split("\t", 2)
    return Done(int(used), float(took), said)


# -- etcd ---------------------------------------------------------------------------------------


def _etcd(change: Callable[[str, Any, Any], Any], *, gzip: bool = False) -> Server:
    return lambda: EvilEtcd(change, gzip=gzip)


def _valued(size: int) -> Callable[[str, Any, Any], Any]:
    made: list[bytes] = []

    def twist(name: str, _: Any, answer: Any) -> Any:
        if name != "Range":
            return answer
        if not made:
            answer.kvs[0].value = bytes(size)
            made.append(answer.SerializeToString())
        return made[0]

    return twist


def _of_nothing(name: str, _: Any, answer: Any) -> Any:
    """Thirty million empty keys, two bytes each."""
    if name != "Range":
        return answer
    return rpc.RangeResponse(header=answer.header).SerializeToString() + b"\x12\0" * 30 * MIB


def _of_many(name: str, request: Any, answer: Any) -> Any:
    """Sixty keys of a MiB."""
    if name == "Range" and request.range_end:
        del answer.kvs[:]
        answer.kvs.extend(kv(b"fuzz/%03d" % number, value=bytes(MIB)) for number in range(60))
    return answer


def _told(name: str, _: Any, answer: Any) -> Any:
    if name != "Watch":
        return answer
    event = rpc.WatchResponse(header=answer.header, watch_id=0)
    event.events.add().kv.CopyFrom(kv(KEY, 99, bytes(100 * MIB)))
    return [answer, event]


# -- ZooKeeper ----------------------------------------------------------------------------------


def _zookeeper(asked: str, said: Said) -> Server:
    """Answers this to one kind of request below the root, and plausibly to all others."""
    return lambda: EvilZooKeeper(
        lambda name, path, plausible: said if name == asked and path != "/" else plausible
    )


def _with(size: int) -> Said:
    return Said(text(bytes(size)) + stat(length=size))


def _children(names: int, length: int) -> Said:
    return Said(struct.pack(">i", names) + b"".join(text(f"{n:0{length}}") for n in range(names)))


def _deep() -> Server:
    """Sixteen nodes of a MiB below each node."""
    names, value = _children(16, 2), _with(MIB)

    def twist(name: str, path: str, plausible: Said) -> Said:
        if path == "/":
            return plausible
        return {"children": names, "get": value}.get(name, plausible)

    return lambda: EvilZooKeeper(twist)


def _flat(count: int) -> Server:
    """So many nodes of a MiB, in one folder."""
    names, value = _children(count, 8), _with(MIB)

    def twist(name: str, path: str, plausible: Said) -> Said:
        if name == "get" and path != "/":
            return value
        return names if path == "/fuzz" and name == "children" else plausible

    return lambda: EvilZooKeeper(twist)


# -- Consul -------------------------------------------------------------------------------------


def _consul(body: bytes, *, chunks: int = 0, heads: bytes = b"") -> Server:
    """Answers this to everything; in chunks of so many bytes, or all at once."""

    def mind(_: Request, wire: Wire) -> bool:
        if not chunks:
            wire.say(answer("200 OK", body, {"X-Consul-Index": "5"}))
            return True
        wire.say(b"HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\nTransfer-Encoding: chunked\r\n" + heads)
        wire.say(b"\r\n")
        for at in range(0, len(body), chunks):
            piece = body[at : at + chunks]
            wire.say(b"%x\r\n%s\r\n" % (len(piece), piece))
        wire.say(b"0\r\n\r\n")
        return True

    return lambda: EvilServer(mind)


def _record(key: str, value: int, *, bad: str = "") -> bytes:
    encoded = base64.b64encode(bytes(value)).decode()
    return (
        f'{{"LockIndex":0,"Key":"{key}","Flags":0,"Value":"{encoded}","CreateIndex":3,'
        f'"ModifyIndex":4{bad}}}'
    ).encode()


def _list(*records: bytes) -> bytes:
    return b"[" + b",".join(records) + b"]"


_EMPTIES = b"{}," * 20 * MIB


REFUSED: dict[str, tuple[Server, str, int]] = {
    "etcd: a value of 200 MiB": (_etcd(_valued(200 * MIB)), "get", 50),
    "etcd: a value of 3 MiB": (_etcd(_valued(3 * MIB)), "get", 50),
    "etcd: 100 MiB of gzip": (_etcd(_valued(100 * MIB), gzip=True), "get", 50),
    "etcd: a list of 200 MiB": (_etcd(_valued(200 * MIB)), "list", 50),
    "etcd: a leader of 200 MiB": (_etcd(_valued(200 * MIB)), "leader", 50),
    "etcd: 30 million empty keys": (_etcd(_of_nothing), "list", 250),
    "zk: a value of 3 MiB": (_zookeeper("get", _with(3 * MIB)), "get", 50),
    "zk: a value of 200 MiB": (_zookeeper("get", _with(200 * MIB)), "get", 50),
    "zk: a length of 2 GiB": (_zookeeper("get", Said(b"x" * 99, length=2**31 - 1)), "get", 50),
    "zk: names of 100 MiB": (_zookeeper("children", _children(10 * MIB, 6)), "list", 50),
    "zk: names of nothing": (
        _zookeeper("children", Said(struct.pack(">i", 4 * MIB - 8) + bytes(16 * MIB - 32))),
        "list",
        100,
    ),
    "zk: a tree without end": (_deep(), "list", 250),
    "consul: a value of 3 MiB": (_consul(_list(_record("fuzz/key", 3 * MIB))), "get", 50),
    "consul: a value of 100 MiB": (_consul(b"[" + b" " * 100 * MIB), "get", 50),
    "consul: a list of 100 MiB": (_consul(b"[" + b" " * 100 * MIB, chunks=MIB), "list", 250),
    "consul: 20 million empty objects": (_consul(b"[" + _EMPTIES + b"{}]"), "list", 300),
    "consul: the same in one record": (
        _consul(_list(_record("fuzz/key", 5, bad=',"x":[' + _EMPTIES.decode() + "{}]"))),
        "list",
        400,
    ),
    "consul: 20 million empty lists": (_consul(b"[" + b"[]," * 20 * MIB + b"[]]"), "list", 300),
    "consul: a deletion of empty objects": (
        _consul(b'{"Results":[' + _EMPTIES + b'{}],"Errors":null}'),
        "delete tree",
        300,
    ),
    "consul: heads without end": (
        _consul(b"[]", chunks=2, heads=b"X-A: b\r\n" * MIB),
        "get",
        50,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_too_long_is_refused_before_memory_is_taken(name: str) -> None:
    """In time, and with a word that says so."""
    make, doing, most = REFUSED[name]
    with make() as server:
        done = measure(server.url, doing)

    assert done.said.startswith("StoreUnavailable: "), done
    said = ("long", "more", "ompress", "cannot be", "not Consul's", "headers")
    assert any(word in done.said for word in said), done
    assert done.megabytes < most, done
    assert done.seconds < at_most(21.0), done


TAKEN: dict[str, tuple[Server, str, str]] = {
    "etcd: a value of 1.5 MiB": (_etcd(_valued(3 * MIB // 2)), "get", f"{3 * MIB // 2} bytes"),
    "etcd: a list of 60 MiB": (_etcd(_of_many), "list", f"{60 * MIB} bytes in 60"),
    "consul: a value of 512 KiB": (
        _consul(_list(_record("fuzz/key", MIB // 2))),
        "get",
        f"{MIB // 2} bytes",
    ),
    "consul: a list of 60 MiB": (
        _consul(_list(*(_record(f"fuzz/{n:02}", MIB // 2) for n in range(88)))),
        "list",
        f"{44 * MIB} bytes in 88",
    ),
    "consul: a list of 30 MiB in small pieces": (
        _consul(_list(*(_record(f"fuzz/{n:06}", 0) for n in range(300_000))), chunks=4096),
        "list",
        "0 bytes in 300000",
    ),
    "zk: a value of 1 MiB": (_zookeeper("get", _with(MIB)), "get", f"{MIB} bytes"),
    "zk: a list of 60 MiB": (_flat(60), "list", f"{60 * MIB} bytes in 60"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_may_be_long_is_taken(name: str) -> None:
    """The longest that a right server sends."""
    make, doing, said = TAKEN[name]
    with make() as server:
        done = measure(server.url, doing)

    assert done.said == said


def test_an_event_that_is_too_long_is_a_gap() -> None:
    """It is not taken in; the watch looks again, and goes on after it."""
    with EvilEtcd(_told) as server:
        done = measure(server.url, "watch")

    assert done.said == "told"
    assert done.megabytes < 50
    assert 1 < server.calls.count("Watch") < 30
    assert server.calls.count("Range") > 1
