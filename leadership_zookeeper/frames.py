"""Which answers are to pings, among all that comes in on a connection."""

from __future__ import annotations

import struct

__all__ = ["Frames"]

_HEAD = struct.Struct("!ii")  # length of what follows, and the number of the request
_PING = -2


class Frames:
    """Goes over what comes in, in pieces of any size, from the first byte on."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0  # bytes of the frame that are still to come

    def pings_in(self, data: bytes) -> int:
        """Take in the next bytes; returns how many answers to pings have begun in them."""
        found, at = 0, 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
            else:
                step = min(_HEAD.size - len(self._head), len(data) - at)
                self._head += data[at : at + step]
                if len(self._head) == _HEAD.size:
                    length, number = _HEAD.unpack(self._head)
                    self._head.clear()
                    self._left = max(0, length - 4)
                    found += number == _PING
            at += step
        return found
