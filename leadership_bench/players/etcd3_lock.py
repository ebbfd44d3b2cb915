"""Player of python-etcd3: its `Lock`, with a thread that refreshes the lease as users have to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

# Protobuf 4 and later refuse python-etcd3's generated code; our plugin makes it importable.
with contextlib.suppress(ImportError):
    import leadership_etcd.compat  # noqa: F401 - imported for what it does

import etcd3

from .player import Player

__all__ = ["PLAYER"]


class _Etcd3(Player):
    def open(self) -> None:
        self._client = etcd3.client(host=self.settings.host, port=self.settings.port)

    def hold(self, key: str, name: str, lead: Callable[[], None]) -> None:
        lock = self._client.lock(key, ttl=int(self.settings.ttl))
        lock.acquire(timeout=None)
        try:
            with self.renewing(lock.refresh):
                lead()
        finally:
            lock.release()

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._client.close()


PLAYER = _Etcd3
