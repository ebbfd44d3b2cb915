"""The store's own client, for whatever belongs to no session of a user's."""

from __future__ import annotations

import threading
from contextlib import suppress

from leadership_core.budget import budget, remaining_budget
from leadership_core.errors import StoreClosed, StoreError, StoreUnavailable

from .bell import Bell
from .link import Link
from .options import Options
from .pace import new_pace

__all__ = ["Reader"]

_TIMEOUT = 10.0  # seconds, of its sessions; a server that is silent is left after two thirds of it
_FAREWELL = 0.5  # seconds for the servers to hear that its session is over
_JOIN = 0.5  # seconds for a thread that has been cut off to end


class Reader:
    """A link that opens session after session for as long as the store is open.

    Attributes:
        bell: for its watches; it rings for all when the connection is lost, or is back.
    """

    def __init__(self, options: Options) -> None:
        self.bell = Bell()
        self._options = options
        self._pace = new_pace(options)
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._closed = False

    def link(self) -> Link:
        """The link of now; opened anew when the last one has come to nothing.

        A server lets nobody in who has seen more of ZooKeeper's history than there is, as when its
        data were lost. So a client that has been away for longer than its session is replaced.

        Raises:
            StoreClosed: the store was closed.
        """
        over: Link | None = None
        with self._lock:
            if self._closed:
                raise StoreClosed("the ZooKeeper store is closed")
            if self._link is not None and (self._link.over or self._link.down_for > _TIMEOUT):
                # Others may wait for it just now: the store is not closed, and they are to try again.
                over, self._link = self._link, None
                over.cut(StoreUnavailable("the connection to ZooKeeper is being replaced"))
            if self._link is None:
                self._link = Link(
                    self._options,
                    _TIMEOUT,
                    name="leadership-zookeeper-reader",
                    pinned=False,
                    changed=self.bell.ring,
                    pace=self._pace,
                )
            link = self._link
        if over is not None:  # without the lock, which the others need for their own requests
            over.join(min(_JOIN, remaining_budget() / 4))
        return link

    def hear(self) -> None:
        """Ask for nothing in particular; returns if there was an answer, or nobody is to ask.

        Raises:
            StoreUnavailable: no answer.
        """
        with suppress(StoreClosed):
            self.link().ask("hear from ZooKeeper", lambda client: client.exists_async("/"))

    @property
    def connected(self) -> bool:
        """Whether it is connected now."""
        link = self._link
        return link is not None and link.connected

    def close(self) -> None:
        """End its session and its thread, within the budget; may be called again."""
        with self._lock:
            self._closed = True
            link, self._link = self._link, None
        if link is None:
            return
        try:
            if link.connected:
                with budget(min(_FAREWELL, remaining_budget() / 2)):
                    link.close_session()
        except StoreError:
            pass  # it ends by itself
        finally:
            link.cut()
            link.join(min(_JOIN, remaining_budget()))
