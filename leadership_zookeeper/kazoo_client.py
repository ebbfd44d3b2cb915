"""kazoo's client: quiet, without retries of requests, never giving up, never going back in time."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from kazoo.client import KazooClient
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.paths import normpath
from kazoo.protocol.serialization import (
    Auth,
    Close,
    Connect,
    Create,
    Create2,
    GetChildren,
    GetChildren2,
    ReplyHeader,
)
from kazoo.retry import KazooRetry
from kazoo.security import OPEN_ACL_UNSAFE

from .options import Options
from .transport import Handler

__all__ = ["DebugState", "new_client"]


def new_client(
    options: Options, handler: Handler, timeout: float, resume: tuple[int, bytes] | None
) -> KazooClient:
    """Create a client, which is not started.

    Args:
        options: of the store.
        handler: provides its thread and its sockets.
        timeout: requested session timeout in seconds.
        resume: number and password of a session to resume.
    """
    pause = handler.sleep_func
    return _Client(
        hosts=handler.placeholders,
        timeout=timeout,
        client_id=resume,
        handler=handler,
        default_acl=options.acl,
        auth_data=[("digest", options.login.digest())] if options.login else None,
        randomize_hosts=False,
        # Short enough for a server that is back, long enough for one that stays down. And not at
        # once: to end a session by force, a tool first connects to it, which breaks our connection.
        # Reconnecting before it has sent its request would break the tool's connection in turn.
        connection_retry=KazooRetry(max_tries=-1, delay=0.1, max_delay=0.5, sleep_func=pause),
        command_retry=KazooRetry(max_tries=0, sleep_func=pause),
        logger=_QuietLogger(logging.getLogger("leadership.zookeeper.kazoo"), {}),
    )


class _Client(KazooClient):  # type: ignore[misc]  # kazoo has no types
    """A client that never observes an older state than before, in all its sessions.

    A server rejects a client that has seen a newer transaction than the server has. kazoo forgets
    the newest one at the end of a session, so the next session could begin at a server that lags.
    See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#ch_zkGuarantees.
    """

    _newest_zxid = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection.__class__ = _Connection  # which has the same attributes

    @property
    def last_zxid(self) -> int:
        """The id of the newest transaction that was observed."""
        return self._newest_zxid

    @last_zxid.setter
    def last_zxid(self, zxid: int) -> None:
        self._newest_zxid = max(self._newest_zxid, zxid)

    def create_async(
        self,
        path: str,
        value: bytes | None = b"",
        *,
        ephemeral: bool = False,
        sequence: bool = False,
        include_data: bool = False,
    ) -> Any:
        """Request the creation of a node.

        kazoo's own chains three futures, to create missing parents and to remove a chroot.
        """
        pending = self.handler.async_result()
        path = normpath(path, trailing=sequence)
        flags = ephemeral | sequence << 1
        request = Create2 if include_data else Create
        acl = self.default_acl or OPEN_ACL_UNSAFE
        self._call(request(path, value, acl, flags), pending)
        return pending

    def close_session_async(self) -> Any:
        """Ask the server to end the session.

        kazoo's own `stop` does not report whether the server has answered, and may take ten seconds.
        """
        pending = self.handler.async_result()
        self._call(_CloseSession(), pending)
        return pending

    def asks_for_names(self, xid: int) -> bool:
        """Whether a request without an answer has this xid, and lists children."""
        try:
            return any(
                pending == xid and isinstance(request, GetChildren | GetChildren2)
                for request, _, pending in self._pending
            )
        except (AttributeError, RuntimeError, TypeError, ValueError):
            return False


class _Connection(ConnectionHandler):  # type: ignore[misc]  # kazoo has no types
    """A connection on a monitored socket, without system calls for each request and answer."""

    def _write(self, msg: bytes, timeout: float | None) -> None:
        # The socket takes all of it, and the handler sends it before it waits.
        self.handler.write_timeout = timeout
        self._socket.send(msg)

    def _read_header(self, timeout: float | None) -> Any:
        sock = self._socket
        if sock.pending() == 0:
            with (
                self._socket_error_handling(),
                contextlib.suppress(BlockingIOError, ssl.SSLWantReadError),
            ):
                sock.read_ahead()
        frame = sock.take_frame()
        if frame is None:  # kazoo waits for the rest
            return super()._read_header(timeout)
        header, offset = ReplyHeader.deserialize(frame, 0)
        return header, frame, offset


class _CloseSession(Close):  # type: ignore[misc]  # kazoo has no types
    """The request to end a session, whose answer is delivered.

    kazoo's own `Close` has no fields and is false, so kazoo drops its answer.
    """

    def __bool__(self) -> bool:
        return True

    @classmethod
    def deserialize(cls, data: bytes, offset: int) -> bool:  # noqa: ARG003  # the signature is kazoo's
        return True


@dataclass(frozen=True, slots=True)
class DebugState:
    """Internal figures of a client, for tests and debugging.

    Attributes:
        connects: number of connections that were asked for.
        requests: number of requests on the current connection.
        watches: number of functions that kazoo calls for the data of one path, at most.
    """

    connects: int
    requests: int
    watches: int

    @classmethod
    def of(cls, kazoo: Any, handler: Handler) -> DebugState:
        return cls(
            connects=handler.connects,
            requests=kazoo._connection._xid,  # noqa: SLF001  # kazoo offers no public one
            watches=max(map(len, list(kazoo._data_watchers.values())), default=0),  # noqa: SLF001  # nor here
        )


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """kazoo's logger: everything at DEBUG, and nothing with a password in it."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if level < logging.DEBUG or not self.isEnabledFor(logging.DEBUG):
            return  # lower levels contain the passwords of sessions
        if not any(isinstance(one, Auth | Connect) for one in args):  # which contain them, too
            super().log(logging.DEBUG, msg, *args, **kwargs)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs
