"""Reader of the holder of an election on PostgreSQL, without this library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from tests.support.servers.postgres import PostgresServer
from tests.support.store_observer import Holder

__all__ = ["PostgresReader"]

_CLAIM = """
SELECT e.revision, e.value,
  EXISTS (SELECT 1 FROM leadership.session AS s WHERE position(s.id::bytea IN e.value) > 0)
FROM leadership.entry AS e WHERE e.key = %s
"""


class PostgresReader:
    """Reads the claim and its session in one statement, as the superuser."""

    def __init__(self, servers: Sequence[PostgresServer], key: str) -> None:
        self._servers, self._turn, self._key = servers, 0, f"{key}/.claim"
        self._link: psycopg.Connection[Any] | None = None

    def read(self) -> list[Holder | None]:
        try:
            if self._link is None:
                server = self._servers[self._turn % len(self._servers)]
                self._link = psycopg.connect(
                    host=server.host, port=server.port, user="postgres", dbname=server.database,
                    connect_timeout=2, autocommit=True, sslmode="disable",
                )  # fmt: skip
            found = self._link.execute(_CLAIM, (self._key,)).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return [None]  # no store has been used yet
        except psycopg.Error as error:
            raise OSError(str(error)) from error
        if found is None or not found[2]:
            return [None]
        return [Holder(found[0], found[1].partition(b"\n")[2].decode())]

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = None
        self._turn += 1
