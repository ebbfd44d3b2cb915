"""What a crash of the process takes down with it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Closable", "Session"]


class Closable(Protocol):
    """Something that runs until it is closed."""

    def close(self) -> None:
        """End it; may be called again, and from any thread. Nothing is called back afterwards.

        A call that is under way in another thread is waited for, for the remaining budget at most
        (five seconds outside a call of the store). Inside the callback it returns at once.
        """


class Session(Protocol):
    """What a crash of this process takes down with it.

    Attributes:
        id: what `Entry.session` says of the entries bound to it.
        ttl: seconds, as granted by the server.
    """

    @property
    def id(self) -> str: ...

    @property
    def ttl(self) -> float: ...

    def renew(self) -> float:
        """Make the server count the ttl from now; returns the ttl in force, in seconds.

        Raises:
            SessionLost: the server says that it is gone.
            StoreUnavailable: no answer, which says nothing about the session.
        """

    def close(self) -> None:
        """End the session at the server, and what it holds there; may be called again.

        Raises:
            StoreUnavailable: no answer; it may still stand, at most for its ttl.
        """
