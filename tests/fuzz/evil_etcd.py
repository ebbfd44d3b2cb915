"""A server that speaks gRPC as etcd does, and answers as badly as it is told.

It is no etcd and proves nothing about one: it is where wrong answers come from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from leadership_etcd.proto import grpc, rpc

__all__ = ["KEY", "LEASE", "EvilEtcd", "kv", "plausible"]

KEY = b"fuzz/key"
LEASE = 0x1234
REVISION = 100

Twist = Callable[[str, Any, Any], Any]
"""Gets the name of a call, its request, and a plausible answer; returns what is sent, and for the
stream of watches perhaps several such in a list."""

_REQUESTS = {
    "Status": rpc.StatusRequest,
    "Range": rpc.RangeRequest,
    "Txn": rpc.TxnRequest,
    "Put": rpc.PutRequest,
    "DeleteRange": rpc.DeleteRangeRequest,
    "LeaseGrant": rpc.LeaseGrantRequest,
    "LeaseKeepAlive": rpc.LeaseKeepAliveRequest,
    "LeaseRevoke": rpc.LeaseRevokeRequest,
    "LeaseTimeToLive": rpc.LeaseTimeToLiveRequest,
    "MemberList": rpc.MemberListRequest,
    "Watch": rpc.WatchRequest,
}


def kv(key: bytes, revision: int = 50, value: bytes = b"value", lease: int = 0) -> Any:
    """A key as etcd has it."""
    return (
        rpc.RangeResponse()
        .kvs.add()
        .__class__(
            key=key,
            create_revision=revision,
            mod_revision=revision,
            version=1,
            value=value,
            lease=lease,
        )
    )


def plausible(name: str, request: Any) -> Any:
    """What an etcd could answer in which there is one key, and one claim below it."""
    header = rpc.ResponseHeader(cluster_id=7, member_id=8, revision=REVISION, raft_term=3)
    match name:
        case "Status":
            return rpc.StatusResponse(header=header, version="3.6.16", leader=8, raftTerm=3)
        case "MemberList":
            found = rpc.MemberListResponse(header=header)
            found.members.add(ID=8, name="evil")
            return found
        case "Range":
            return _range(header, request)
        case "Txn":
            made = rpc.TxnResponse(header=header, succeeded=True)
            for one in request.success:
                made.responses.add().CopyFrom(_done(header, one))
            return made
        case "DeleteRange":
            return rpc.DeleteRangeResponse(header=header, deleted=1)
        case "LeaseGrant":
            return rpc.LeaseGrantResponse(header=header, ID=LEASE, TTL=request.TTL)
        case "LeaseKeepAlive":
            return rpc.LeaseKeepAliveResponse(header=header, ID=request.ID, TTL=15)
        case "LeaseRevoke":
            return rpc.LeaseRevokeResponse(header=header)
        case "LeaseTimeToLive":
            return rpc.LeaseTimeToLiveResponse(header=header, ID=request.ID, TTL=10)
    return rpc.WatchResponse(header=header, created=True, watch_id=0)


def _range(header: Any, request: Any) -> Any:
    claim = KEY + b"/%x" % LEASE
    present = [kv(KEY), kv(claim, REVISION, b"me", LEASE)]
    end = request.range_end
    found = [
        one
        for one in present
        if (request.key <= one.key and (end == b"\0" or one.key < end) if end else one.key == request.key)
        and one.create_revision <= (request.max_create_revision or REVISION)
    ]  # fmt: skip
    return rpc.RangeResponse(header=header, kvs=found[: request.limit or None], count=len(found))


def _done(header: Any, operation: Any) -> Any:
    match operation.WhichOneof("request"):
        case "request_range":
            return rpc.ResponseOp(response_range=_range(header, operation.request_range))
        case "request_put":
            return rpc.ResponseOp(response_put=rpc.PutResponse(header=header))
    return rpc.ResponseOp(response_delete_range=rpc.DeleteRangeResponse(header=header, deleted=1))


class EvilEtcd:
    """Listens on a port of loopback until it is closed."""

    def __init__(self, twist: Twist = lambda _, __, answer: answer, gzip: bool = False) -> None:
        self.twist = twist
        self.calls: list[str] = []
        self._ended = threading.Event()
        self._server = grpc.server(
            ThreadPoolExecutor(16),
            handlers=[_Handler(self)],
            options=[("grpc.max_send_message_length", -1)],
            compression=grpc.Compression.Gzip if gzip else None,
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def url(self) -> str:
        return f"etcd://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.stop(0.1).wait(2.0)

    def answer(self, name: str, data: bytes) -> bytes:
        return _encoded(self._said(name, data))

    def watch(self, requests: Iterator[bytes]) -> Iterator[bytes]:
        for data in requests:
            said = self._said("Watch", data)
            yield from map(_encoded, said if isinstance(said, list) else [said])

    def _said(self, name: str, data: bytes) -> Any:
        self.calls.append(name)
        request = _REQUESTS[name].FromString(data)
        return self.twist(name, request, plausible(name, request))


def _encoded(said: Any) -> bytes:
    return said if isinstance(said, bytes) else bytes(said.SerializeToString())


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
    def __init__(self, server: EvilEtcd) -> None:
        self._server = server

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        if name == "Watch":
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, _: self._server.watch(requests)
            )
        return grpc.unary_unary_rpc_method_handler(lambda data, _: self._server.answer(name, data))
