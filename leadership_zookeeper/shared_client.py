"""The client of a store for all requests that belong to no user's session."""

from __future__ import annotations

import threading
from contextlib import suppress

from leadership_core.backend import (
    StoreClosed,
    StoreError,
    StoreUnavailable,
    call_timeout,
    remaining_timeout,
)

from .client import Client
from .options import Options
from .watch_dispatcher import WatchDispatcher

__all__ = ["SharedClient"]

_TIMEOUT = 10.0  # seconds, of its sessions; kazoo leaves a silent server after two thirds of it
_CLOSE_SESSION = 0.5  # seconds for the servers to end its session
_JOIN = 0.5  # seconds for a disconnected thread to end


class SharedClient:
    """A client that is replaced when it has failed, until the store is closed; thread-safe.

    Attributes:
        dispatcher: of its watches; notifies all when the connection is lost, or is back.
    """

    def __init__(self, options: Options) -> None:
        self.dispatcher: WatchDispatcher = WatchDispatcher()
        self._options = options
        self._limiter = options.new_connect_limiter()
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._closed = False

    def current(self) -> Client:
        """Return the client, which may not be connected yet.

        A server rejects a client that has seen a newer transaction than the server has, as after
        a loss of its data. So a client that was disconnected for longer than its session lasts is
        replaced. Blocks only while the thread of a replaced client ends, 0.5 s at most.

        Raises:
            StoreClosed: the store was closed.
        """
        replaced: Client | None = None
        with self._lock:
            if self._closed:
                raise StoreClosed("the ZooKeeper store is closed")
            client = self._client
            if client is not None and (client.closed or client.disconnected_for > _TIMEOUT):
                # Threads may wait for it: the store is not closed, and they may retry.
                replaced, self._client = client, None
                replaced.disconnect(
                    StoreUnavailable("the connection to ZooKeeper is being replaced")
                )
            if self._client is None:
                self._client = Client(
                    self._options,
                    _TIMEOUT,
                    name="leadership-zookeeper-client",
                    pinned=False,
                    on_change=self.dispatcher.notify,
                    limiter=self._limiter,
                )
            client = self._client
        if replaced is not None:  # without the lock, which other threads need for their requests
            replaced.join(min(_JOIN, remaining_timeout() / 4))
        return client

    def ping(self) -> None:
        """Return if a server answers at present, or the store is closed.

        Raises:
            StoreUnavailable: no answer within the remaining timeout.
        """
        with suppress(StoreClosed):
            self.current().request("ping ZooKeeper", lambda kazoo: kazoo.exists_async("/"))

    def close(self) -> None:
        """End its session and its thread, within the remaining timeout; idempotent."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is None:
            return
        try:
            if client.connected:
                with call_timeout(min(_CLOSE_SESSION, remaining_timeout() / 2)):
                    client.close_session()
        except StoreError:
            pass  # the servers end it after its timeout
        finally:
            client.disconnect()
            client.join(min(_JOIN, remaining_timeout()))
