"""Player of PostgreSQL's advisory locks with psycopg, each candidate with a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import psycopg

from .player import Player

__all__ = ["PLAYER"]


class _Postgres(Player):
    """Candidates wait in `pg_advisory_lock`, so the server elects the next one."""

    def open(self) -> None:
        parts = urlsplit(self.settings.url)
        # Without the options, which are those of this library's store.
        self._conninfo = urlunsplit(("postgresql", parts.netloc, parts.path, "", ""))
        self._local = threading.local()
        self._open: list[psycopg.Connection] = []
        psycopg.connect(self._conninfo, connect_timeout=5).close()

    def hold(self, key: str, name: str, lead: Callable[[], None]) -> None:
        connection = self._connection()
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        try:
            lead()
        finally:
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (key,))

    def close(self) -> None:
        for connection in self._open:
            connection.close()

    def _connection(self) -> psycopg.Connection:
        found: psycopg.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = psycopg.connect(self._conninfo, autocommit=True, connect_timeout=5)
            self._local.connection = found
            self._open.append(found)
        return found


PLAYER = _Postgres
