"""An operator of PostgreSQL: what can be done to one election by SQL."""

from __future__ import annotations

from tests.support.servers.postgres import PostgresServer

__all__ = ["PostgresAdmin"]


class PostgresAdmin:
    """An operator of the tables of the schema `leadership`; see `admin_tools.AdminTools`."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def holder(self, key: str) -> object:
        found = self._server.ask(
            "SELECT s.id FROM leadership.entry AS e JOIN leadership.session AS s "
            "ON position(s.id::bytea IN e.value) > 0 WHERE e.key = %s",
            f"{key}/.claim",
        )
        return found[0][0] if found else None

    def sessions(self) -> set[object]:
        return {row[0] for row in self._server.ask("SELECT id FROM leadership.session")}

    def end(self, session: object) -> None:
        self._server.ask("SELECT leadership.end_1(%s, NULL, 1000)", session)

    def end_session(self, key: str) -> None:
        self.end(self.holder(key))

    def delete(self, key: str) -> None:
        self._server.ask(
            "SELECT leadership.delete_1(%s, 'any', NULL, NULL, NULL, 1000)", f"{key}/.claim"
        )

    def overwrite(self, key: str, value: str) -> None:
        self._server.ask(
            "SELECT leadership.put_1(%s, %s, 'any', NULL, NULL, NULL, NULL, NULL, NULL, 1000)",
            f"{key}/.claim",
            value.encode(),
        )

    def delete_all(self, key: str) -> None:
        self.delete(key)
        self._server.ask("SELECT leadership.delete_1(%s, 'any', NULL, NULL, NULL, 1000)", key)

    def writes(self) -> int:
        found = self._server.ask("SELECT last_value FROM leadership.revision")[0][0]
        assert isinstance(found, int)
        return found
