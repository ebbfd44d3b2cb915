"""gRPC server with wrong answers in etcd's protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from leadership_etcd.compat import grpc, pb

__all__ = ["KEY", "LEASE", "HostileEtcd", "kv", "valid"]

KEY = b"fuzz/key"
LEASE = 0x1234
REVISION = 100

Alter = Callable[[str, Any, Any], Any]
"""Gets the name of a call, its request and a valid answer; returns the answer to send, or a list
of answers of a watch."""

_REQUESTS = {
    "Status": pb.StatusRequest,
    "Range": pb.RangeRequest,
    "Txn": pb.TxnRequest,
    "Put": pb.PutRequest,
    "DeleteRange": pb.DeleteRangeRequest,
    "LeaseGrant": pb.LeaseGrantRequest,
    "LeaseKeepAlive": pb.LeaseKeepAliveRequest,
    "LeaseRevoke": pb.LeaseRevokeRequest,
    "LeaseTimeToLive": pb.LeaseTimeToLiveRequest,
    "MemberList": pb.MemberListRequest,
    "Watch": pb.WatchRequest,
}


def kv(key: bytes, revision: int = 50, value: bytes = b"value", lease: int = 0) -> Any:
    """A key-value pair of etcd."""
    return (
        pb.RangeResponse()
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


def valid(name: str, request: Any) -> Any:
    """The answer of an etcd with one key and one claim below it."""
    header = pb.ResponseHeader(cluster_id=7, member_id=8, revision=REVISION, raft_term=3)
    match name:
        case "Status":
            return pb.StatusResponse(header=header, version="3.6.16", leader=8, raftTerm=3)
        case "MemberList":
            found = pb.MemberListResponse(header=header)
            found.members.add(ID=8, name="hostile")
            return found
        case "Range":
            return _range(header, request)
        case "Txn":
            made = pb.TxnResponse(header=header, succeeded=True)
            for one in request.success:
                made.responses.add().CopyFrom(_done(header, one))
            return made
        case "DeleteRange":
            return pb.DeleteRangeResponse(header=header, deleted=1)
        case "LeaseGrant":
            return pb.LeaseGrantResponse(header=header, ID=LEASE, TTL=request.TTL)
        case "LeaseKeepAlive":
            return pb.LeaseKeepAliveResponse(header=header, ID=request.ID, TTL=15)
        case "LeaseRevoke":
            return pb.LeaseRevokeResponse(header=header)
        case "LeaseTimeToLive":
            return pb.LeaseTimeToLiveResponse(header=header, ID=request.ID, TTL=10)
    return pb.WatchResponse(header=header, created=True, watch_id=0)


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
    return pb.RangeResponse(header=header, kvs=found[: request.limit or None], count=len(found))


def _done(header: Any, operation: Any) -> Any:
    match operation.WhichOneof("request"):
        case "request_range":
            return pb.ResponseOp(response_range=_range(header, operation.request_range))
        case "request_put":
            return pb.ResponseOp(response_put=pb.PutResponse(header=header))
    return pb.ResponseOp(response_delete_range=pb.DeleteRangeResponse(header=header, deleted=1))


class HostileEtcd:
    """An etcd server with altered answers, on a port of loopback."""

    def __init__(self, alter: Alter = lambda _, __, answer: answer, gzip: bool = False) -> None:
        self.alter = alter
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
        return _encoded(self._answer(name, data))

    def watch(self, requests: Iterator[bytes]) -> Iterator[bytes]:
        for data in requests:
            answer = self._answer("Watch", data)
            yield from map(_encoded, answer if isinstance(answer, list) else [answer])

    def _answer(self, name: str, data: bytes) -> Any:
        self.calls.append(name)
        request = _REQUESTS[name].FromString(data)
        return self.alter(name, request, valid(name, request))


def _encoded(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else bytes(answer.SerializeToString())


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
    def __init__(self, server: HostileEtcd) -> None:
        self._server = server

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        if name == "Watch":
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, _: self._server.watch(requests)
            )
        return grpc.unary_unary_rpc_method_handler(lambda data, _: self._server.answer(name, data))
