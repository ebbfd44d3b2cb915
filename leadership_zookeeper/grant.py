"""The timeout that a server has granted, read off the wire.

A server answers a client that connects with the session's timeout: what was asked for, or
what its configuration makes of that. kazoo acts on it and forgets it, and keeps what it asked
for. So the answer is read here as it passes by, and whoever leads without one does not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Grant", "Greeting"]

_HEAD = struct.Struct("!iiiq")  # length of the answer, version of the protocol, timeout, session
_LENGTHS = range(20, 1024)  # of a password of no or of many bytes


@dataclass(frozen=True, slots=True)
class Grant:
    """What a server has answered to a client that has connected.

    Attributes:
        timeout: seconds; 0.0 if the session that was asked for has ended.
        session: its number; 0 if it has ended.
    """

    timeout: float
    session: int


class Greeting:
    """Looks at what comes in on one connection, until it has seen the answer to connecting.

    Args:
        tell: called with it, in the thread that reads; not called if it makes no sense.

    Attributes:
        complete: whether it has seen it.
        is_nonsense: whether no ZooKeeper would say that.
    """

    def __init__(self, tell: Callable[[Grant], None]) -> None:
        self._tell = tell
        self._seen = bytearray()
        self.complete = False
        self.is_nonsense = False

    def pass_by(self, data: bytes) -> None:
        """Look at the next bytes."""
        if self.complete:
            return
        self._seen += data
        if len(self._seen) < _HEAD.size:
            return
        self.complete = True
        length, _, milliseconds, session = _HEAD.unpack_from(self._seen)
        # Number 0 is that of no session, and says that the one which was asked for has ended.
        if length in _LENGTHS and (session != 0 or milliseconds <= 0):
            self._tell(Grant(max(0, milliseconds) / 1000, session))
        else:
            self.is_nonsense = True
