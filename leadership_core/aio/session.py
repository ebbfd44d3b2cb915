"""Session at a store, for programs on asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ..backend import protocols
from .requests import Requests

__all__ = ["Session"]


class Session:
    """A session: the entries bound to it expire when the program stops renewing it.

    From `Store.open_session`. As an asynchronous context manager it is closed at the end; it is
    not renewed by itself.

    Args:
        blocking: the session as threads use it.
        requests: the threads for its requests.

    Example:
        >>> async with await store.open_session(ttl=10) as session:
        ...     entry = await store.put("workers/17", b"up", session=session)
        ...     ttl = await session.renew()
    """

    def __init__(self, blocking: protocols.Session, requests: Requests) -> None:
        self._blocking = blocking
        self._requests = requests

    @property
    def blocking(self) -> protocols.Session:
        """The same session for threads, whose methods block."""
        return self._blocking

    @property
    def id(self) -> str:
        """The value of `Entry.session` of the entries bound to it."""
        return self._blocking.id

    @property
    def ttl(self) -> float:
        """Seconds, as granted by the server."""
        return self._blocking.ttl

    async def renew(self) -> float:
        """Restart the ttl at the server; returns the granted ttl in seconds.

        Raises:
            SessionLost: the server says that the session has ended.
            StoreUnavailable: no answer, which says nothing about the session.
        """
        return await self._requests.call(self._blocking.renew)

    async def close(self) -> None:
        """End the session and what is bound to it; may be called repeatedly.

        Raises:
            StoreUnavailable: no answer; the session may live on, for its ttl at most.
        """
        await self._requests.call(self._blocking.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not isinstance(
            error, GeneratorExit
        ):  # or it expires: a task of a closed loop cannot await
            await self.close()

    def __repr__(self) -> str:
        return f"<aio session {self.id}>"
