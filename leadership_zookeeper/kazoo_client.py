"""kazoo's client: quiet, without retries of requests, never giving up, never going back in time."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from kazoo.client import KazooClient
from kazoo.protocol.serialization import Auth, Close, Connect, GetChildren, GetChildren2
from kazoo.retry import KazooRetry

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

    @property
    def last_zxid(self) -> int:
        """The id of the newest transaction that was observed."""
        return self._newest_zxid

    @last_zxid.setter
    def last_zxid(self, zxid: int) -> None:
        self._newest_zxid = max(self._newest_zxid, zxid)

    def close_session_async(self) -> Any:
        """Ask the server to end the session.

        kazoo's own `stop` does not report whether the server has answered, and may take ten seconds.
        """
        pending = self.handler.async_result()
        self._call(_CloseSession(), pending)
        return pending

    def asks_for_names(self, xid: int) -> bool:
        """Whether the next answer is that to a request with this xid, and lists children."""
        try:
            request, _, pending = self._pending[0]
        except (AttributeError, LookupError, TypeError, ValueError):
            return False
        return bool(pending == xid and isinstance(request, GetChildren | GetChildren2))


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
