"""Validation of etcd's answers before anything rests on them.

An answer must be short enough for what was asked, have no more parts than that can have, and be
about what was asked: the key, the range, the lease, the operations of the transaction. An answer
that fails says nothing, so the outcome of its request is unknown.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from .compat import pb
from .errors import InvalidResponse
from .rpc import (
    AUTHENTICATE,
    DELETE,
    GRANT,
    KEEP_ALIVE,
    RANGE,
    TIME_TO_LIVE,
    TXN,
    Method,
    WatchResult,
)

__all__ = [
    "MAX_LIST_SIZE",
    "MAX_PAGE_SIZE",
    "MAX_SIZE",
    "max_response_size",
    "read_response",
    "read_watch_response",
]

MAX_SIZE = 2 * 1024**2
"""Bytes of an answer about one key, a lease or a transaction. etcd takes 1.5 MiB in a request."""
MAX_PAGE_SIZE = 8 * 1024**2
"""Bytes of an answer with a few keys of an election, each of which may be as long as etcd allows."""
MAX_LIST_SIZE = 64 * 1024**2
"""Bytes of a list, and of one message of a watch."""

_PAGE = 4  # keys
_MAX_PARTS = 1000  # messages inside an answer, beyond the keys that were asked for
_MAX_EVENT_PARTS = 250_000  # of one watch message: etcd puts up to 1,000 transactions into it
_MAX_TTL = 9_000_000_000  # seconds, etcd's own limit
_LEASES = range(1, 1 << 63)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf

ResultT = TypeVar("ResultT")


def max_response_size(method: Method[Any], request: Any) -> int:
    """How many bytes the answer to a request may have."""
    if method is RANGE:
        return _max_range_size(request)
    if method is TXN:
        reads = [
            one.request_range
            for one in (*request.success, *request.failure)
            if one.WhichOneof("request") == "request_range"
        ]
        return max(map(_max_range_size, reads), default=MAX_SIZE)
    return MAX_SIZE


def _max_range_size(request: Any) -> int:
    if not request.range_end:
        return MAX_SIZE
    return MAX_PAGE_SIZE if 0 < request.limit <= _PAGE else MAX_LIST_SIZE


def read_response(method: Method[ResultT], request: Any, data: bytes) -> ResultT:
    """Parse and check the answer to a request.

    Raises:
        InvalidResponse: it cannot be an answer of etcd's to that request.
    """
    # No limit is smaller than that one, so most answers need no look at the request.
    if len(data) > MAX_SIZE and len(data) > (limit := max_response_size(method, request)):
        raise InvalidResponse(f"the answer is too long: {len(data)} bytes, limit {limit}")
    keys = request.limit if method is RANGE else 0
    if _has_more_parts(_MAX_PARTS + keys, data, method.response.DESCRIPTOR):
        raise InvalidResponse("the answer has more parts than the request allows for")
    answer = _parse(method.response, data)
    if method is RANGE:
        _require_revision(answer)
        _check_range(request, answer, answer.header.revision)
    elif method is TXN:
        _require_revision(answer)
        executed = request.success if answer.succeeded else request.failure
        _require(len(answer.responses) == len(executed), "it answers another transaction")
        for one, response in zip(executed, answer.responses, strict=True):
            kind = one.WhichOneof("request").removeprefix("request_")
            same = response.WhichOneof("response") == f"response_{kind}"
            _require(same, "it answers another operation")
            if kind == "range":
                found = response.response_range
                _check_range(one.request_range, found, answer.header.revision)
    elif method is DELETE:
        _require_revision(answer)
        _require(answer.deleted >= 0, "its number of deleted keys is negative")
    elif method is GRANT:
        _require(answer.ID in _LEASES, "it names no lease")
        _require(0 < answer.TTL <= _MAX_TTL, f"it grants a ttl of {answer.TTL} s")
    elif method is KEEP_ALIVE:
        _require(answer.ID == request.ID, "it is about another lease")
        _require(answer.header.raft_term > 0, "it has no raft term")
        _require(answer.TTL <= _MAX_TTL, f"it grants a ttl of {answer.TTL} s")
    elif method is TIME_TO_LIVE:
        _require(answer.ID == request.ID, "it is about another lease")
    elif method is AUTHENTICATE:
        _require(bool(answer.token), "it has no token")
    return method.parse(answer)


def read_watch_response(data: bytes) -> WatchResult:
    """Parse and check one message of a stream of watches.

    Raises:
        InvalidResponse: it cannot be one of etcd's.
    """
    if _has_more_parts(_MAX_EVENT_PARTS, data, pb.WatchResponse.DESCRIPTOR):
        raise InvalidResponse("a watch message has more parts than etcd puts into one")
    answer = _parse(pb.WatchResponse, data)
    _require(answer.header.revision > 0 or answer.canceled, "it has no revision")
    for event in answer.events:
        kv = event.kv
        _require(0 < kv.mod_revision <= answer.header.revision, "an event has no valid revision")
        _require(event.type in (0, 1), "an event is neither a write nor a deletion")
        created = event.type == 1 or 0 < kv.create_revision <= kv.mod_revision
        _require(created, "a key has no valid create revision")
    revisions = (event.kv.mod_revision for event in answer.events)
    _require(all(a <= b for a, b in pairwise(revisions)), "its events are out of order")
    return WatchResult.parse(answer)


def _parse(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise InvalidResponse("it is not a message of etcd's") from error


def _require_revision(answer: Any) -> None:
    _require(answer.header.revision > 0, "it has no revision")


def _check_range(request: Any, answer: Any, revision: int) -> None:
    kvs, start, end, limit = answer.kvs, request.key, request.range_end, request.limit
    _require(not limit or len(kvs) <= limit, "it has more keys than the limit")
    _require(bool(kvs) or not answer.more, "it has no keys and says that there are more")
    latest = min(revision, request.revision or revision)
    newest = request.max_create_revision or latest
    unbounded = end == b"\0"  # an end of one zero byte stands for no end
    keys, created = [], []
    for kv in kvs:  # a list has many, so there is no call for each
        key, create_revision = kv.key, kv.create_revision
        if not (start <= key and (unbounded or key < end) if end else key == start):
            raise InvalidResponse("it is about another key")
        if not (0 < create_revision <= kv.mod_revision <= latest and kv.version > 0):
            raise InvalidResponse("a key has impossible revisions")
        if create_revision > newest:
            raise InvalidResponse("a key is too new")
        keys.append(key)
        created.append(create_revision)
    if not end:
        _require(len(kvs) <= 1, "it has one key more than once")
    elif request.sort_target == pb.RangeRequest.CREATE:
        down = request.sort_order == pb.RangeRequest.DESCEND
        _require(created == sorted(created, reverse=down), "its keys are out of order")
    else:
        unique = len(set(keys)) == len(keys)
        _require(unique and keys == sorted(keys), "its keys are out of order")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidResponse(otherwise)


def _has_more_parts(limit: int, data: bytes, descriptor: Any) -> bool:
    """Whether an encoded message contains more messages than `limit`.

    It is counted before the message is parsed, because two bytes can stand for an empty message,
    which takes fifty in memory. What is cut off is not counted: the parser refuses it.
    """
    if len(data) < 2 * limit:  # each takes two bytes, at least
        return False
    count = 0
    left = [(0, len(data), _message_fields(descriptor))]
    while left:
        at, end, fields = left.pop()
        while at < end:
            tag, at = _varint(data, at)
            kind = tag & 7
            if kind == _BYTES:
                length, at = _varint(data, at)
                if (found := fields.get(tag >> 3)) is not None:
                    count += 1
                    if count > limit:
                        return True
                    if inside := _message_fields(found):
                        left.append((at, min(at + length, end), inside))
                at += length
            elif kind == _VARINT:
                _, at = _varint(data, at)
            elif kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            else:
                break  # etcd's messages have no groups, and the parser refuses them
    return False


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return value, len(data)  # cut off, or no number: the parser refuses it


@cache
def _message_fields(descriptor: Any) -> dict[int, Any]:
    """The fields of a message that are messages, by their numbers."""
    return {
        field.number: field.message_type
        for field in descriptor.fields
        if field.message_type is not None
    }
