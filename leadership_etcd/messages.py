"""Requests, written down; python-etcd3's own functions send what they build at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from .proto import rpc

__all__ = [
    "absent",
    "below",
    "bound",
    "created",
    "delete",
    "encode",
    "is_deletion",
    "modified",
    "put",
    "read",
    "text",
    "txn",
    "valued",
]

_EVERYTHING = (b"\0", b"\0")
_ORDERS = {"first": rpc.RangeRequest.ASCEND, "last": rpc.RangeRequest.DESCEND}


def encode(key: str) -> bytes:
    """A key as etcd has it."""
    return key.encode("utf-8", "surrogateescape")


def text(key: bytes) -> str:
    """A key as we have it; foreign bytes survive."""
    return key.decode("utf-8", "surrogateescape")


def below(prefix: str) -> tuple[bytes, bytes]:
    """The range of the keys that begin with `prefix/`; of all keys if the prefix is empty."""
    if not prefix:
        return _EVERYTHING
    start = encode(prefix)
    return start + b"/", start + b"0"  # 0 is what follows the slash


def read(
    key: bytes,
    end: bytes = b"",
    *,
    order: Literal["first", "last"] | None = None,
    limit: int = 0,
    keys_only: bool = False,
    revision: int = 0,
    most: int = 0,
) -> Any:
    """Read a key, or with `end` a range.

    Args:
        key: where it begins.
        end: where it ends, itself left out.
        order: those that were created first, or last, come first; None is by key.
        limit: how many, at most; 0 for all.
        keys_only: to learn which keys there are, and nothing else about them: etcd 3.7 leaves out
            the lease with the value, and a field that is left out looks like 0.
        revision: read it as it was then; 0 for as it is now.
        most: only keys whose create revision is not more; 0 for any.
    """
    request = rpc.RangeRequest(
        key=key,
        range_end=end,
        limit=limit,
        keys_only=keys_only,
        revision=revision,
        max_create_revision=most,
    )
    if order is not None:
        request.sort_order = _ORDERS[order]
        request.sort_target = rpc.RangeRequest.CREATE
    return request


def put(key: bytes, value: bytes, lease: int = 0) -> Any:
    """Write a key."""
    return rpc.PutRequest(key=key, value=value, lease=lease)


def delete(key: bytes, end: bytes = b"") -> Any:
    """Delete a key, or with `end` a range."""
    return rpc.DeleteRangeRequest(key=key, range_end=end)


def created(key: bytes, revision: int) -> Any:
    """Holds if the key was created by the write with that revision."""
    return rpc.Compare(
        target=rpc.Compare.CREATE, result=rpc.Compare.EQUAL, key=key, create_revision=revision
    )


def absent(key: bytes) -> Any:
    """Holds if the key is not there."""
    return created(key, 0)


def modified(key: bytes, revision: int) -> Any:
    """Holds if the last write of the key was the one with that revision."""
    return rpc.Compare(
        target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, key=key, mod_revision=revision
    )


def valued(key: bytes, value: bytes) -> Any:
    """Holds if the key has that value."""
    return rpc.Compare(target=rpc.Compare.VALUE, result=rpc.Compare.EQUAL, key=key, value=value)


def bound(key: bytes, lease: int) -> Any:
    """Holds if the key goes with that lease; 0 is none."""
    return rpc.Compare(target=rpc.Compare.LEASE, result=rpc.Compare.EQUAL, key=key, lease=lease)


def txn(
    *, when: Sequence[Any] = (), then: Sequence[Any] = (), otherwise: Sequence[Any] = ()
) -> Any:
    """Do `then` if all of `when` holds, `otherwise` if not, in one atomic step."""
    return rpc.TxnRequest(
        compare=when, success=map(_operation, then), failure=map(_operation, otherwise)
    )


def _operation(request: Any) -> Any:
    if isinstance(request, rpc.RangeRequest):
        return rpc.RequestOp(request_range=request)
    if isinstance(request, rpc.PutRequest):
        return rpc.RequestOp(request_put=request)
    return rpc.RequestOp(request_delete_range=request)


def is_deletion(event: Any) -> bool:
    """Whether an event of a watch says that its key was deleted."""
    return bool(event.type == _DELETE)


_DELETE = (
    rpc.WatchResponse.DESCRIPTOR.fields_by_name["events"]
    .message_type.enum_types_by_name["EventType"]
    .values_by_name["DELETE"]
    .number
)
