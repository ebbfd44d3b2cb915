"""Fake resolution of host names in this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

__all__ = ["Names"]


class Names:
    """Fake results of `socket.getaddrinfo`; names that are not set are resolved as usual.

    Attributes:
        asked: how often each name was asked for.

    Args:
        monkeypatch: takes it back at the end of the test.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: dict[str, int] = {}
        self._known: dict[str, list[str] | OSError] = {}
        self._slow: dict[str, float] = {}
        self._real = socket.getaddrinfo
        self._over = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def set(self, name: str, addresses: Sequence[str] | OSError, *, seconds: float = 0.0) -> None:
        """Let a name resolve to these addresses, in this order, or fail with an error.

        Args:
            name: the host.
            addresses: in figures, or what is raised.
            seconds: that the answer takes.
        """
        self._known[name] = addresses if isinstance(addresses, OSError) else list(addresses)
        self._slow[name] = seconds

    def _look_up(self, host: Any, port: Any, *args: Any, **how: Any) -> Any:
        if host not in self._known:
            return self._real(host, port, *args, **how)
        if how.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.asked[host] = self.asked.get(host, 0) + 1
        time.sleep(self._slow[host])
        found = self._known[host]
        if isinstance(found, OSError):
            raise found
        return [answer for one in found for answer in self._real(one, port, *args, **how)]
