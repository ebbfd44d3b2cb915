"""How long the answers on a connection are, and which of them are to pings."""

from __future__ import annotations

import struct
from collections.abc import Callable

__all__ = ["LONGEST", "LONGEST_NAMES", "Frames", "TooLong"]

LONGEST = 2 * 1024**2
"""Bytes of an answer; a server takes requests of 1 MiB unless its jute.maxbuffer says otherwise."""
LONGEST_NAMES = 16 * 1024**2
"""Bytes of an answer with the names of all nodes below one; a million of 16 characters."""

_HEAD = struct.Struct("!ii")  # length of what follows, and the number of the request
_PING = -2


class TooLong(ConnectionAbortedError):
    """An answer is longer than what was asked for can be."""


class Frames:
    """Goes over what comes in, in pieces of any size, from the first byte on.

    Args:
        longest: says for the number of a request how many bytes its answer may have.
    """

    def __init__(self, longest: Callable[[int], int] = lambda _: LONGEST) -> None:
        self._longest = longest
        self._head = bytearray()
        self._left = 0  # bytes of the frame that are still to come

    def pings_in(self, data: bytes) -> int:
        """Take in the next bytes; returns how many answers to pings have begun in them.

        Raises:
            TooLong: a frame begins that is longer than it may be; nothing more is to be read.
        """
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
                    if length > LONGEST and length > (most := self._longest(number)):
                        raise TooLong(
                            f"the answer is too long: {length} bytes, where {most} are the most"
                        )
            at += step
        return found
