"""What an answer of etcd has to be before anything rests on it.

It must be short enough for what was asked, have no more parts than that can have, and be about
what was asked: the key, the range, the lease, the operations of the transaction. An answer that
is not that says nothing, so the outcome of its request is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from google.protobuf.message import DecodeError

from .errors import Senseless
from .methods import AUTHENTICATE, DELETE, GRANT, KEEP_ALIVE, RANGE, TIME_TO_LIVE, TXN, Method
from .parts import more_parts_than
from .proto import rpc

__all__ = ["LONGEST", "LONGEST_LIST", "LONGEST_PAGE", "bound_of", "read_answer", "read_watch"]

LONGEST = 2 * 1024**2
"""Bytes of an answer about one key, a lease or a transaction. etcd takes 1.5 MiB in a request."""
LONGEST_PAGE = 8 * 1024**2
"""Bytes of an answer with a few keys of an election, each of which may be as long as etcd allows."""
LONGEST_LIST = 64 * 1024**2
"""Bytes of a list, and of the changes that a watch tells at once."""

_PAGE = 4  # keys
_PARTS = 1000  # messages inside an answer, beyond the keys that were asked for
_EVENTS = 250_000  # of a watch in one answer; etcd puts up to 1,000 transactions into one
_LONGEST_TTL = 9_000_000_000  # seconds, as etcd's own limit
_IDS = range(1, 1 << 63)


def bound_of(method: Method, request: Any) -> int:
    """How many bytes the answer to a request may have."""
    if method is RANGE:
        return _bound_of_range(request)
    if method is TXN:
        reads = [
            one.request_range
            for one in (*request.success, *request.failure)
            if one.WhichOneof("request") == "request_range"
        ]
        return max(map(_bound_of_range, reads), default=LONGEST)
    return LONGEST


def _bound_of_range(request: Any) -> int:
    if not request.range_end:
        return LONGEST
    return LONGEST_PAGE if 0 < request.limit <= _PAGE else LONGEST_LIST


def read_answer(method: Method, request: Any, data: bytes) -> Any:
    """The answer to a request.

    Raises:
        Senseless: it is none.
    """
    most = bound_of(method, request)
    if len(data) > most:
        raise Senseless(f"the answer is too long: {len(data)} bytes, where {most} are the most")
    limit = request.limit if method is RANGE else 0
    if more_parts_than(_PARTS + limit, data, method.answer.DESCRIPTOR):
        raise Senseless("the answer has more parts than what was asked for")
    answer = _parsed(method.answer, data)
    if method is RANGE:
        _check_header(answer)
        _check_range(request, answer, answer.header.revision)
    elif method is TXN:
        _check_header(answer)
        _check_txn(request, answer)
    elif method is DELETE:
        _check_header(answer)
        _demand(answer.deleted >= 0, "it counts less than no deleted keys")
    elif method is GRANT:
        _demand(answer.ID in _IDS, "it names no lease")
        _demand(0 < answer.TTL <= _LONGEST_TTL, f"it grants a ttl of {answer.TTL} s")
    elif method is KEEP_ALIVE:
        _demand(answer.ID == request.ID, "it is about another lease")
        _demand(answer.header.raft_term > 0, "it does not say which term of raft it is")
        _demand(answer.TTL <= _LONGEST_TTL, f"it grants a ttl of {answer.TTL} s")
    elif method is TIME_TO_LIVE:
        _demand(answer.ID == request.ID, "it is about another lease")
    elif method is AUTHENTICATE:
        _demand(bool(answer.token), "it has no token")
    return answer


def read_watch(data: bytes) -> Any:
    """One answer of a stream of watches.

    Raises:
        Senseless: it is none.
    """
    if more_parts_than(_EVENTS, data, rpc.WatchResponse.DESCRIPTOR):
        raise Senseless("an answer of the watches has more parts than etcd puts into one")
    answer = _parsed(rpc.WatchResponse, data)
    _demand(answer.header.revision > 0 or answer.canceled, "it does not say as of which revision")
    for event in answer.events:
        kv = event.kv
        _demand(0 < kv.mod_revision <= answer.header.revision, "an event has no revision")
        _demand(event.type in (0, 1), "an event is neither a write nor a deletion")
        _demand(event.type == 1 or 0 < kv.create_revision <= kv.mod_revision, "a key has no origin")
    revisions = (event.kv.mod_revision for event in answer.events)
    _demand(all(a <= b for a, b in pairwise(revisions)), "its events are out of order")
    return answer


def _parsed(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise Senseless("it is no message of etcd's") from error


def _check_header(answer: Any) -> None:
    _demand(answer.header.revision > 0, "it does not say as of which revision")


def _check_txn(request: Any, answer: Any) -> None:
    wanted = request.success if answer.succeeded else request.failure
    _demand(len(answer.responses) == len(wanted), "it is about another transaction")
    for one, response in zip(wanted, answer.responses, strict=True):
        kind = one.WhichOneof("request").removeprefix("request_")
        _demand(response.WhichOneof("response") == f"response_{kind}", "it answers something else")
        if kind == "range":
            _check_range(one.request_range, response.response_range, answer.header.revision)


def _check_range(request: Any, answer: Any, revision: int) -> None:
    kvs = answer.kvs
    _demand(not request.limit or len(kvs) <= request.limit, "it has more keys than were asked for")
    _demand(bool(kvs) or not answer.more, "it promises more keys and has none")
    latest = min(revision, request.revision or revision)
    for kv in kvs:
        _demand(_is_asked_for(request, kv.key), "it is about another key")
        _demand(
            0 < kv.create_revision <= kv.mod_revision <= latest and kv.version > 0,
            "a key has revisions that cannot be",
        )
        if request.max_create_revision:
            _demand(kv.create_revision <= request.max_create_revision, "a key is too new")
    if not request.range_end:
        _demand(len(kvs) <= 1, "it has one key more than once")
    elif request.sort_target == rpc.RangeRequest.CREATE:
        created: Iterable[int] = (kv.create_revision for kv in kvs)
        down = request.sort_order == rpc.RangeRequest.DESCEND
        ordered = all((a >= b if down else a <= b) for a, b in pairwise(created))
        _demand(ordered, "its keys are out of order")
    else:
        _demand(all(a.key < b.key for a, b in pairwise(kvs)), "its keys are out of order")


def _is_asked_for(request: Any, key: bytes) -> bool:
    if not request.range_end:
        return bool(key == request.key)
    # An end of one zero byte stands for no end.
    return bool(request.key <= key and (request.range_end == b"\0" or key < request.range_end))


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Senseless(otherwise)
