"""How many messages a protobuf message has inside, counted before it is taken apart.

Two bytes can stand for an empty message, which takes fifty in memory. So an answer that is short
enough can still fill the memory, unless it is counted first what it is made of.
"""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["more_parts_than"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def more_parts_than(most: int, data: bytes, descriptor: Any) -> bool:
    """Whether a message has more messages inside than that; what is cut off is not counted."""
    if len(data) < 2 * most:  # each takes two bytes, at least
        return False
    count = 0
    left = [(0, len(data), _inner(descriptor))]
    while left:
        at, end, inner = left.pop()
        while at < end:
            tag, at = _varint(data, at)
            kind = tag & 7
            if kind == _BYTES:
                length, at = _varint(data, at)
                if (found := inner.get(tag >> 3)) is not None:
                    count += 1
                    if count > most:
                        return True
                    if inside := _inner(found):
                        left.append((at, min(at + length, end), inside))
                at += length
            elif kind == _VARINT:
                _, at = _varint(data, at)
            elif kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            else:
                break  # there are no groups in etcd's messages, and the parser says so
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
    return value, len(data)  # it is cut off, or none; the parser says so


@cache
def _inner(descriptor: Any) -> dict[int, Any]:
    """The fields of a message that are messages, by their numbers."""
    return {
        field.number: field.message_type
        for field in descriptor.fields
        if field.message_type is not None
    }
