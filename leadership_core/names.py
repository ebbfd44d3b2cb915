"""Host names, resolved within a time limit, which the standard library does not have."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from . import clock

__all__ = ["resolve"]

_LOOK = 0.05  # seconds between two looks whether anybody wants to know any more


def resolve(
    host: str,
    port: int,
    seconds: float,
    *,
    thread: str,
    wanted: Callable[[], bool] = lambda: True,
) -> list[Any]:
    """Return what `socket.getaddrinfo` says of a host for TCP; an address takes no time.

    Args:
        host: a name, or an address.
        port: which is put into the result.
        seconds: how long to wait at most.
        thread: the name for the thread that asks, which may go on for half a minute.
        wanted: says whether to go on waiting.

    Raises:
        OSError: nobody knows the name, or no answer came in time.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "this cannot be a host name") from None
    except socket.gaierror:
        return _look_up(host, port, clock.now() + seconds, thread, wanted)


def _look_up(
    host: str, port: int, until: float, name: str, wanted: Callable[[], bool]
) -> list[Any]:
    # getaddrinfo knows no timeout, and a dead name server holds it for half a minute.
    found: list[list[Any]] = []
    problem: list[OSError] = []

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            problem.append(error)

    thread = threading.Thread(target=ask, name=name, daemon=True)
    thread.start()
    while thread.is_alive() and wanted() and (left := until - clock.now()) > 0:
        thread.join(min(left, _LOOK))
    if found:
        return found[0]
    if not problem:
        raise TimeoutError(f"the name {host!r} was not resolved in time")
    raise problem[0]
