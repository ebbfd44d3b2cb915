"""Requests and results of etcd's gRPC API, as far as this store uses it.

python-etcd3's own functions send what they build at once, so requests are built here. What comes
back is read into the dataclasses below in one place, `Method.parse`: no other module depends on
the names of protobuf fields in an answer. etcd's documentation of these calls:
https://etcd.io/docs/v3.5/learning/api/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from .compat import pb

__all__ = [
    "AUTHENTICATE",
    "DELETE",
    "GRANT",
    "KEEP_ALIVE",
    "MEMBERS",
    "RANGE",
    "REVOKE",
    "STATUS",
    "TIME_TO_LIVE",
    "TXN",
    "WATCH",
    "DeleteResult",
    "KeyValue",
    "LeaseResult",
    "Method",
    "RangeResult",
    "Result",
    "TxnResult",
    "WatchEvent",
    "WatchResult",
    "create_revision_is",
    "decode_key",
    "delete_request",
    "encode_key",
    "key_missing",
    "lease_is",
    "mod_revision_is",
    "prefix_range",
    "put_request",
    "range_request",
    "txn_request",
    "value_is",
]

ResultT = TypeVar("ResultT")


# -- results ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key with its value, as etcd has it.

    Attributes:
        key: with the bytes of etcd; see `decode_key`.
        value: of the last write.
        create_revision: of the write that created the key.
        mod_revision: of the last write.
        lease: id of the lease that the key is bound to; 0 for none. etcd 3.7 leaves it out where
            only keys are read, and in some events.
    """

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int

    @classmethod
    def parse(cls, kv: Any) -> KeyValue:
        """Read it from etcd's message of the same name."""
        return cls(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.lease)


@dataclass(frozen=True, slots=True)
class Result:
    """What every answer says.

    Attributes:
        revision: of the whole cluster, as of which the answer holds.
        raft_term: grows with each leader that the members of the cluster elect.
    """

    revision: int
    raft_term: int

    @classmethod
    def parse(cls, answer: Any) -> Result:
        return cls(answer.header.revision, answer.header.raft_term)


@dataclass(frozen=True, slots=True)
class RangeResult(Result):
    """What a read has found.

    Attributes:
        kvs: the keys, in the order that was asked for.
        more: there are more keys than the limit allowed for.
    """

    kvs: tuple[KeyValue, ...]
    more: bool

    @classmethod
    def parse(cls, answer: Any) -> RangeResult:
        return cls.of_operation(answer, answer)

    @classmethod
    def of_operation(cls, answer: Any, found: Any) -> RangeResult:
        """Read it from what one operation of a transaction has found; the header is the answer's."""
        kvs = tuple(map(KeyValue.parse, found.kvs))
        return cls(answer.header.revision, answer.header.raft_term, kvs, found.more)


@dataclass(frozen=True, slots=True)
class TxnResult(Result):
    """What a transaction has done.

    Attributes:
        succeeded: all of its comparisons held.
        ranges: what the reads of the branch that was executed have found, in their order.
    """

    succeeded: bool
    ranges: tuple[RangeResult, ...]

    @classmethod
    def parse(cls, answer: Any) -> TxnResult:
        header = answer.header
        ranges = tuple(
            RangeResult.of_operation(answer, one.response_range)
            for one in answer.responses
            if one.WhichOneof("response") == "response_range"
        )
        return cls(header.revision, header.raft_term, answer.succeeded, ranges)


@dataclass(frozen=True, slots=True)
class DeleteResult(Result):
    """How many keys were deleted."""

    deleted: int

    @classmethod
    def parse(cls, answer: Any) -> DeleteResult:
        return cls(answer.header.revision, answer.header.raft_term, answer.deleted)


@dataclass(frozen=True, slots=True)
class LeaseResult(Result):
    """What a lease is like.

    Attributes:
        lease: its id.
        ttl: seconds that it was granted, or that are left of it; 0 or less if it has ended.
    """

    lease: int
    ttl: int

    @classmethod
    def parse(cls, answer: Any) -> LeaseResult:
        return cls(answer.header.revision, answer.header.raft_term, answer.ID, answer.TTL)


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of a key; of a deleted key only its name and `mod_revision` are known."""

    kv: KeyValue
    deleted: bool


@dataclass(frozen=True, slots=True)
class WatchResult:
    """One message of a stream of watches.

    Attributes:
        revision: up to which the watch has reported all that happened.
        watch_id: the stream's number of the watch.
        created: it answers the request to create a watch.
        canceled: etcd has ended the watch.
        cancel_reason: why, in etcd's words.
        compact_revision: if that is the reason, the first revision that is still there.
        events: in the order of their revisions.
    """

    revision: int
    watch_id: int
    created: bool
    canceled: bool
    cancel_reason: str
    compact_revision: int
    events: tuple[WatchEvent, ...]

    @classmethod
    def parse(cls, answer: Any) -> WatchResult:
        return cls(
            answer.header.revision,
            answer.watch_id,
            answer.created,
            answer.canceled,
            answer.cancel_reason,
            answer.compact_revision,
            tuple(
                WatchEvent(KeyValue.parse(event.kv), event.type == _DELETION)
                for event in answer.events
            ),
        )


_DELETION = (
    pb.WatchResponse.DESCRIPTOR.fields_by_name["events"]
    .message_type.enum_types_by_name["EventType"]
    .values_by_name["DELETE"]
    .number
)


# -- calls -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Method(Generic[ResultT]):
    """One call.

    Attributes:
        path: as gRPC names it.
        request: class of the message that is sent.
        response: class of the message that comes back.
        parse: makes the result of the latter; of messages that only the connection handles it is
            the message itself.
        repeatable: whether sending it twice does what sending it once does. Of writes, only
            those whose comparisons make sure of that are sent as such.
    """

    path: str
    request: Any
    response: Any
    parse: Callable[[Any], ResultT]
    repeatable: bool


def _method(name: str, parse: Callable[[Any], ResultT], *, repeatable: bool) -> Method[ResultT]:
    messages = name.partition("/")[2]
    request, response = getattr(pb, f"{messages}Request"), getattr(pb, f"{messages}Response")
    return Method(f"/etcdserverpb.{name}", request, response, parse, repeatable)


def _message(answer: Any) -> Any:
    return answer


RANGE = _method("KV/Range", RangeResult.parse, repeatable=True)
TXN = _method("KV/Txn", TxnResult.parse, repeatable=False)
DELETE = _method("KV/DeleteRange", DeleteResult.parse, repeatable=False)
# If it is done twice, the surplus lease is never renewed and expires.
GRANT = _method("Lease/LeaseGrant", LeaseResult.parse, repeatable=True)
REVOKE = _method("Lease/LeaseRevoke", Result.parse, repeatable=True)
# It is a stream in both directions. With one message in each it is a call like any other, which
# needs no thread and has a deadline.
KEEP_ALIVE = _method("Lease/LeaseKeepAlive", LeaseResult.parse, repeatable=True)
TIME_TO_LIVE = _method("Lease/LeaseTimeToLive", LeaseResult.parse, repeatable=True)
AUTHENTICATE = _method("Auth/Authenticate", _message, repeatable=True)
STATUS = _method("Maintenance/Status", _message, repeatable=True)
MEMBERS = _method("Cluster/MemberList", _message, repeatable=True)
WATCH = _method("Watch/Watch", WatchResult.parse, repeatable=False)


# -- requests --------------------------------------------------------------------------------------

_ORDERS = {"first": pb.RangeRequest.ASCEND, "last": pb.RangeRequest.DESCEND}


def encode_key(key: str) -> bytes:
    """A key as etcd has it."""
    return key.encode("utf-8", "surrogateescape")


def decode_key(key: bytes) -> str:
    """A key as the library has it; bytes that are not UTF-8 survive."""
    return key.decode("utf-8", "surrogateescape")


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """The range of the keys that begin with `prefix/`; of all keys if the prefix is empty."""
    if not prefix:
        return b"\0", b"\0"
    start = encode_key(prefix)
    return start + b"/", start + b"0"  # 0 is the character after the slash


def range_request(
    key: bytes,
    end: bytes = b"",
    *,
    order: Literal["first", "last"] | None = None,
    limit: int = 0,
    keys_only: bool = False,
    revision: int = 0,
    max_create_revision: int = 0,
) -> Any:
    """Read a key, or with `end` a range; linearizable.

    Args:
        key: where it begins.
        end: where it ends, itself left out.
        order: the keys that were created first, or last, come first; None sorts by key.
        limit: how many keys, at most; 0 for all.
        keys_only: to learn which keys there are, and nothing else about them: etcd 3.7 leaves out
            the lease with the value, and a field that is left out reads as 0.
        revision: read the state of that revision; 0 for the present one.
        max_create_revision: only keys whose create revision is not larger; 0 for any.
    """
    request = pb.RangeRequest(
        key=key,
        range_end=end,
        limit=limit,
        keys_only=keys_only,
        revision=revision,
        max_create_revision=max_create_revision,
    )
    if order is not None:
        request.sort_order = _ORDERS[order]
        request.sort_target = pb.RangeRequest.CREATE
    return request


def put_request(key: bytes, value: bytes, lease: int = 0) -> Any:
    """Write a key, for use in a transaction."""
    return pb.PutRequest(key=key, value=value, lease=lease)


def delete_request(key: bytes, end: bytes = b"") -> Any:
    """Delete a key, or with `end` a range."""
    return pb.DeleteRangeRequest(key=key, range_end=end)


def create_revision_is(key: bytes, revision: int) -> Any:
    """Holds if the key was created by the write with that revision."""
    return pb.Compare(
        target=pb.Compare.CREATE, result=pb.Compare.EQUAL, key=key, create_revision=revision
    )


def key_missing(key: bytes) -> Any:
    """Holds if the key does not exist."""
    return create_revision_is(key, 0)


def mod_revision_is(key: bytes, revision: int) -> Any:
    """Holds if the last write of the key was the one with that revision."""
    return pb.Compare(
        target=pb.Compare.MOD, result=pb.Compare.EQUAL, key=key, mod_revision=revision
    )


def value_is(key: bytes, value: bytes) -> Any:
    """Holds if the key has that value."""
    return pb.Compare(target=pb.Compare.VALUE, result=pb.Compare.EQUAL, key=key, value=value)


def lease_is(key: bytes, lease: int) -> Any:
    """Holds if the key is bound to that lease; 0 is none."""
    return pb.Compare(target=pb.Compare.LEASE, result=pb.Compare.EQUAL, key=key, lease=lease)


def txn_request(
    *, when: Sequence[Any] = (), then: Sequence[Any] = (), otherwise: Sequence[Any] = ()
) -> Any:
    """Do `then` if all of `when` holds, `otherwise` if not, in one atomic step."""
    return pb.TxnRequest(
        compare=when, success=map(_operation, then), failure=map(_operation, otherwise)
    )


def _operation(request: Any) -> Any:
    if isinstance(request, pb.RangeRequest):
        return pb.RequestOp(request_range=request)
    if isinstance(request, pb.PutRequest):
        return pb.RequestOp(request_put=request)
    return pb.RequestOp(request_delete_range=request)
