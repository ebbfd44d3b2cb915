"""The subscription to the notifications of all writes: one connection for each open store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from math import inf

from redis import exceptions

from leadership_core.backend import (
    LeadershipError,
    StoreClosed,
    StoreRefused,
    call_timeout,
    clock,
    join,
    start_daemon,
)

from .client import Client
from .errors import NotPrimary, network_error, refused
from .sockets import Connection

__all__ = ["Subscription"]

log: logging.Logger = logging.getLogger(__name__)

_HEARTBEAT = 3.0  # seconds without a message after which the server is asked for an answer
_CONNECT_TIMEOUT = 2.0  # seconds, to connect and to subscribe
_FIRST_RETRY, _LAST_RETRY = 0.1, 2.0  # seconds
_WARN_INTERVAL = 60.0  # seconds between two warnings


class Subscription:
    """Listens for notifications in a thread of its own, from `start` on; thread-safe.

    Redis keeps no notifications for a client that is disconnected. So `on_message` is called with None after
    each subscription: anything may have changed before it.

    Args:
        client: of the store.
        on_message: called in the thread with the key of an entry or the id of a session that has
            changed, or with None.
    """

    def __init__(self, client: Client, on_message: Callable[[str | None], object]) -> None:
        self._client = client
        self._on_message = on_message
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._active = False
        self._warned = -inf

    @property
    def active(self) -> bool:
        """Whether notifications arrive now."""
        return self._active

    def start(self) -> None:
        """Start the thread, once; raises `NotApplied` if there can be none now."""
        with self._lock:
            if self._thread is None and not self._ended.is_set():
                self._thread = start_daemon(self._run, "leadership-redis-notifications")

    def close(self) -> None:
        """Let the thread end; it does as soon as the connections of the client are aborted."""
        self._ended.set()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended."""
        thread = self._thread
        if thread is not None:
            join(thread, timeout)

    def _run(self) -> None:
        retry = _FIRST_RETRY
        while not self._ended.is_set():
            connection: Connection | None = None
            try:
                with call_timeout(_CONNECT_TIMEOUT):
                    connection = self._client.transport.open_connection()
                self._subscribe(connection, _CONNECT_TIMEOUT)
                self._active = True
                retry = _FIRST_RETRY
                self._on_message(None)
                self._listen(connection)
            except StoreClosed:
                return
            except StoreRefused as error:
                if clock.now() - self._warned >= _WARN_INTERVAL:
                    self._warned = clock.now()
                    log.warning("no notifications, so changes are seen by polling only: %s", error)
                retry = _LAST_RETRY
            except (LeadershipError, exceptions.RedisError, OSError, ValueError) as error:
                log.debug("the subscription to notifications has ended: %s", network_error(error))
            finally:
                self._active = False
                if connection is not None:
                    connection.close()
            self._ended.wait(retry)
            retry = min(2 * retry, _LAST_RETRY)

    def _subscribe(self, connection: Connection, seconds: float) -> None:
        """Subscribe, or subscribe again to get an answer of the server; no other right is needed."""
        connection.deadline.until = clock.now() + seconds
        connection.send_command("SUBSCRIBE", self._client.channel, check_health=False)  # type: ignore[no-untyped-call, unused-ignore]  # redis-py has no types here
        while True:
            try:
                message = connection.next_message()
            except exceptions.ResponseError as error:
                try:
                    raise refused(str(connection.address), error) from None
                except NotPrimary:
                    raise error from None
            if message[0] == b"subscribe":
                return
            self._take(message)

    def _listen(self, connection: Connection) -> None:
        transport = self._client.transport
        # Another server executes the requests after a failover, and this one may hear of nothing.
        while not self._ended.is_set() and transport.current == connection.address:
            connection.deadline.until = clock.now() + _HEARTBEAT
            try:
                self._take(connection.next_message())
            except exceptions.TimeoutError:
                self._subscribe(connection, _HEARTBEAT)

    def _take(self, message: list[bytes]) -> None:
        if message[0] == b"message":
            self._on_message(message[2].decode("utf-8", "replace"))
