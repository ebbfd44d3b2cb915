"""Player of kazoo: its `Election`, all candidates of a process on one client."""

from __future__ import annotations

from collections.abc import Callable

from kazoo.client import KazooClient

from .player import Player

__all__ = ["PLAYER"]


class _Kazoo(Player):
    def open(self) -> None:
        settings = self.settings
        self._client = KazooClient(f"{settings.host}:{settings.port}", timeout=settings.ttl)
        self._client.start(10)

    def hold(self, key: str, name: str, lead: Callable[[], None]) -> None:
        self._client.Election(f"/{key}", name).run(lead)

    def close(self) -> None:
        self._client.stop()


PLAYER = _Kazoo
