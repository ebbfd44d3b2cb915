"""kazoo's client as we want it: quiet, without retries of requests, and never giving up."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from kazoo.client import KazooClient
from kazoo.protocol.serialization import Auth, Close, Connect
from kazoo.retry import KazooRetry

from .handler import Handler
from .options import Options

__all__ = ["Goodbye", "kazoo_client"]


def kazoo_client(
    options: Options, handler: Handler, timeout: float, resume: tuple[int, bytes] | None
) -> KazooClient:
    """Make a client, which is not started.

    Args:
        options: whose user it is.
        handler: has its thread and its sockets.
        timeout: seconds to ask for.
        resume: number and password of a session to join.
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
        # Soon enough for a server that is back, and slow enough for one that is down for long. And
        # not at once: whoever ends a session by force connects to it first, which breaks our
        # connection. To be back before that one asks for the end would break its connection.
        connection_retry=KazooRetry(max_tries=-1, delay=0.1, max_delay=0.5, sleep_func=pause),
        command_retry=KazooRetry(max_tries=0, sleep_func=pause),
        logger=_Quiet(logging.getLogger("leadership.zookeeper.kazoo"), {}),
    )


class _Client(KazooClient):  # type: ignore[misc]  # kazoo has no types
    """One that is never shown an older state than before.

    A server lets nobody in who has seen more than it has itself. kazoo forgets what it has seen
    when its session has ended, and the next one may begin at a server that is behind.
    """

    _seen = 0

    @property
    def last_zxid(self) -> int:
        """The id of the newest transaction that it has seen."""
        return self._seen

    @last_zxid.setter
    def last_zxid(self, zxid: int) -> None:
        self._seen = max(self._seen, zxid)


class Goodbye(Close):  # type: ignore[misc]  # kazoo has no types
    """The request to end a session, whose answer is told.

    Of its own one kazoo thinks that it is none, because it has no fields.
    """

    def __bool__(self) -> bool:
        return True

    @classmethod
    def deserialize(cls, data: bytes, offset: int) -> bool:  # noqa: ARG003
        return True


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """kazoo's log: only for those who debug, and without what is secret."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if level < logging.DEBUG or not self.isEnabledFor(logging.DEBUG):
            return  # what is less than that tells the passwords of sessions
        if not any(isinstance(one, Auth | Connect) for one in args):  # and these tell them, too
            super().log(logging.DEBUG, msg, *args, **kwargs)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs
