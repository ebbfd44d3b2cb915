"""Answers longer than their request allows: refused before memory is allocated."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import pytest

from leadership_etcd.compat import pb
from tests.fuzz.hostile_etcd import KEY, HostileEtcd, kv
from tests.fuzz.hostile_server import HostileServer, Request, Wire, answer
from tests.fuzz.hostile_zookeeper import Answer, HostileZooKeeper, stat, text
from tests.support.waiting import at_most
from tests.unit.cli.command import environment

MIB = 1024**2
Server = Callable[[], AbstractContextManager[Any]]


class Done(NamedTuple):
    """The memory, time and result of a request."""

    megabytes: int
    seconds: float
    result: str


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
    used, took, result = done.stdout.rstrip("\n").split("\t", 2)
    return Done(int(used), float(took), result)


# -- etcd ---------------------------------------------------------------------------------------


def _etcd(change: Callable[[str, Any, Any], Any], *, gzip: bool = False) -> Server:
    return lambda: HostileEtcd(change, gzip=gzip)


def _valued(size: int) -> Callable[[str, Any, Any], Any]:
    made: list[bytes] = []

    def alter(name: str, _: Any, answer: Any) -> Any:
        if name != "Range":
            return answer
        if not made:
            answer.kvs[0].value = bytes(size)
            made.append(answer.SerializeToString())
        return made[0]

    return alter


def _of_nothing(name: str, _: Any, answer: Any) -> Any:
    """Thirty million empty keys, two bytes each."""
    if name != "Range":
        return answer
    return pb.RangeResponse(header=answer.header).SerializeToString() + b"\x12\0" * 30 * MIB


def _of_many(name: str, request: Any, answer: Any) -> Any:
    """Sixty keys of a MiB."""
    if name == "Range" and request.range_end:
        del answer.kvs[:]
        answer.kvs.extend(kv(b"fuzz/%03d" % number, value=bytes(MIB)) for number in range(60))
    return answer


def _long_event(name: str, _: Any, answer: Any) -> Any:
    if name != "Watch":
        return answer
    event = pb.WatchResponse(header=answer.header, watch_id=0)
    event.events.add().kv.CopyFrom(kv(KEY, 99, bytes(100 * MIB)))
    return [answer, event]


# -- ZooKeeper ----------------------------------------------------------------------------------


def _zookeeper(asked: str, result: Answer) -> Server:
    """This answer to one kind of request below the root, and valid answers to all others."""
    return lambda: HostileZooKeeper(
        lambda name, path, valid: result if name == asked and path != "/" else valid
    )


def _with(size: int) -> Answer:
    return Answer(text(bytes(size)) + stat(length=size))


def _children(names: int, length: int) -> Answer:
    return Answer(struct.pack(">i", names) + b"".join(text(f"{n:0{length}}") for n in range(names)))


def _deep() -> Server:
    """Sixteen nodes of a MiB below each node."""
    names, value = _children(16, 2), _with(MIB)

    def alter(name: str, path: str, valid: Answer) -> Answer:
        if path == "/":
            return valid
        return {"children": names, "get": value}.get(name, valid)

    return lambda: HostileZooKeeper(alter)


def _flat(count: int) -> Server:
    """So many nodes of a MiB, in one folder."""
    names, value = _children(count, 8), _with(MIB)

    def alter(name: str, path: str, valid: Answer) -> Answer:
        if name == "get" and path != "/":
            return value
        return names if path == "/fuzz" and name == "children" else valid

    return lambda: HostileZooKeeper(alter)


# -- Consul -------------------------------------------------------------------------------------


def _consul(body: bytes, *, chunks: int = 0, heads: bytes = b"") -> Server:
    """This answer to all requests, in chunks of so many bytes, or in one piece."""

    def behaviour(_: Request, wire: Wire) -> bool:
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

    return lambda: HostileServer(behaviour)


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
    "zk: a length of 2 GiB": (_zookeeper("get", Answer(b"x" * 99, length=2**31 - 1)), "get", 50),
    "zk: names of 100 MiB": (_zookeeper("children", _children(10 * MIB, 6)), "list", 50),
    "zk: names of nothing": (
        _zookeeper("children", Answer(struct.pack(">i", 4 * MIB - 8) + bytes(16 * MIB - 32))),
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
def test_too_long_answer_is_refused_before_memory_is_allocated(name: str) -> None:
    """The refusal comes in time, and names the reason."""
    make, doing, most = REFUSED[name]
    with make() as server:
        done = measure(server.url, doing)

    assert done.result.startswith("StoreUnavailable: "), done
    reasons = ("long", "more", "ompress", "invalid name", "not Consul's", "headers")
    assert any(word in done.result for word in reasons), done
    assert done.megabytes < most, done
    assert done.seconds < at_most(21.0), done


ACCEPTED: dict[str, tuple[Server, str, str]] = {
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


@pytest.mark.parametrize("name", ACCEPTED)
def test_longest_valid_answer_is_accepted(name: str) -> None:
    """The longest answer of a correct server."""
    make, doing, result = ACCEPTED[name]
    with make() as server:
        done = measure(server.url, doing)

    assert done.result == result


def test_too_long_event_is_a_gap() -> None:
    """It is refused; the watch reads again, and continues after it."""
    with HostileEtcd(_long_event) as server:
        done = measure(server.url, "watch")

    assert done.result == "reported"
    assert done.megabytes < 50
    assert 1 < server.calls.count("Watch") < 30
    assert server.calls.count("Range") > 1
