"""The statements of a PostgreSQL store, with their answers as values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from leadership_core.backend import (
    ABSENT,
    ANY,
    Entry,
    Expected,
    Fence,
    NotApplied,
    StoreRefused,
    remaining_timeout,
)

from .connection import Parameter, Rows
from .errors import MISSING_OBJECT, ServerError, statement_error
from .options import Options
from .schema import channel_of, quoted, schema_sql
from .transport import TrafficClass, Transport

__all__ = ["Client", "KeyValue", "Outcome", "array_of", "range_below"]

ResultT = TypeVar("ResultT")

_READ = """
SELECT e.key, e.value, e.revision::text, e.session,
  CASE WHEN e.session IS NULL THEN '' WHEN s.id IS NULL OR {schema}.is_due_1(s) THEN '0' ELSE
    (extract(epoch FROM s.renewed - clock_timestamp()) + s.ttl)::text END,
  pg_is_in_recovery()::text
FROM (SELECT 1) AS one LEFT JOIN ({schema}.entry AS e LEFT JOIN {schema}.session AS s ON s.id = e.session)
  ON {condition} ORDER BY e.key
"""
_HEARTBEATS = """
SELECT s.id, s.ttl::text, s.beat, pg_is_in_recovery()::text
FROM (SELECT 1) AS one LEFT JOIN {schema}.session AS s ON s.id = ANY($1::text[])
"""
# Also those from before the clock was set back.
_SILENT = """
SELECT id, ttl::text, beat FROM {schema}.session
WHERE clock_timestamp() > renewed + make_interval(secs => 2 * ttl + 60)
  OR renewed > clock_timestamp() + interval '60 s' LIMIT $1
"""
# One row in any case, which says whether the server is a standby.
_CONDITIONS = {
    "one": "e.key = $1",
    "many": "e.key = ANY($1::text[])",
    "from": "e.key >= $1",
    "range": "e.key >= $1 AND e.key < $2",
}


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A row of the table of entries.

    Attributes:
        entry: as the store returns it.
        remaining: seconds until the session that it is bound to may have ended by the server's clock;
            infinite without one, and 0 if it has ended.
    """

    entry: Entry
    remaining: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer of a function that writes.

    Attributes:
        name: done, absent, conflict, fenced, lost or due.
        detail: the revision, or the session that is due.
    """

    name: str
    detail: str


class Client:
    """Requests to the tables of one schema; thread-safe. Each raises as `Transport.run` does.

    Args:
        options: of the store.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.transport: Transport = Transport(options)
        self._schema = quoted(options.schema)
        self.channel: str = channel_of(options.schema)
        self._reads = {
            name: self._in_schema(_READ).replace("{condition}", condition)
            for name, condition in _CONDITIONS.items()
        }

    def read(self, key: str) -> KeyValue | None:
        """Read one entry."""
        found = self._read(f"read {key!r}", "one", (key,))
        return found[0] if found else None

    def read_many(self, keys: Sequence[str]) -> list[KeyValue]:
        """Read the entries of several keys, in the order of the keys."""
        return self._read("read the watched keys", "many", (array_of(keys),))

    def read_below(self, prefix: str) -> list[KeyValue]:
        """Read all entries below a prefix, in the order of their keys."""
        start, end = range_below(prefix)
        if end is None:
            return self._read("list all keys", "from", (start,))
        return self._read(f"list {prefix!r}", "range", (start, end))

    def put(
        self,
        key: str,
        value: bytes,
        expect: Expected,
        session: str | None,
        fence: Fence | None,
    ) -> Outcome:
        """Write one entry under its conditions."""
        return self._outcome(
            f"write {key!r}",
            "put_1",
            key,
            value,
            *_expectation(expect),
            session,
            None if fence is None else fence.key,
            None if fence is None else fence.token,
        )

    def delete(self, key: str, expect: Expected) -> Outcome:
        """Delete one entry under its condition."""
        return self._outcome(f"delete {key!r}", "delete_1", key, *_expectation(expect))

    def delete_below(self, prefix: str) -> int:
        """Delete all entries below a prefix; returns their number."""
        start, end = range_below(prefix)
        return int(self._call(f"delete below {prefix!r}", "delete_range_1", start, end))

    def expire(self, session: str) -> None:
        """End the entries of a session if its time has passed by the server's clock."""
        self._call("end the entries of a session", "expire_1", session)

    def open_session(self, session: str, ttl: float, beat: str) -> None:
        """Insert the row of a session."""
        self._call("open a session", "open_1", session, ttl, beat, traffic=TrafficClass.RENEWALS)

    def renew_session(self, session: str, expected: Sequence[str], beat: str) -> str:
        """Replace a heartbeat; returns renewed, ended, expired or overtaken."""
        return self._call(
            "renew the session",
            "renew_1",
            session,
            array_of(expected),
            beat,
            traffic=TrafficClass.RENEWALS,
        )

    def end_session(self, session: str, beat: str | None) -> bool:
        """End a session; with a heartbeat, only if that is still the one. False if it is renewed."""
        doing = "end the session"
        found = self._call(doing, "end_1", session, beat, traffic=TrafficClass.RENEWALS)
        return found == "ended"

    def read_sessions(self, sessions: Iterable[str]) -> dict[str, tuple[float, str]]:
        """Read the ttl and the heartbeat of each session that is not over."""
        sql, parameters = self._in_schema(_HEARTBEATS), (array_of(sessions),)
        rows = self._run("read the heartbeats", sql, parameters, TrafficClass.RENEWALS)
        _refuse_standby(rows)
        return {
            _text(row[0]): (float(_text(row[1])), _text(row[2]))
            for row in rows
            if row[0] is not None
        }

    def read_silent(self, most: int) -> dict[str, tuple[float, str]]:
        """Read sessions that the server's clock says have not been renewed for long, as a hint."""
        sql = self._in_schema(_SILENT)
        rows = self._run("read the sessions", sql, (most,), TrafficClass.REQUESTS)
        return {_text(row[0]): (float(_text(row[1])), _text(row[2])) for row in rows}

    def _read(self, doing: str, kind: str, parameters: Sequence[Parameter]) -> list[KeyValue]:
        rows = self._run(doing, self._reads[kind], parameters, TrafficClass.REQUESTS)
        return self.parsed(rows)

    def parsed(self, rows: Rows) -> list[KeyValue]:
        """The entries of the rows of a read.

        Raises:
            NotApplied: they are those of a standby, which may lag.
        """
        _refuse_standby(rows)
        return [_key_value(row) for row in rows if row[0] is not None]

    def _outcome(self, doing: str, function: str, *parameters: Parameter) -> Outcome:
        call = f"{function}({_places(len(parameters) + 1)})"
        sql = self._in_schema("SELECT outcome, detail FROM {schema}.") + call
        rows = self._run(doing, sql, (*parameters, _lock_wait()), TrafficClass.REQUESTS)
        return Outcome(_text(rows[0][0]), _text(rows[0][1]))

    def _call(
        self,
        doing: str,
        function: str,
        *parameters: Parameter,
        traffic: TrafficClass = TrafficClass.REQUESTS,
    ) -> str:
        call = f"{function}({_places(len(parameters) + 1)})::text"
        sql = self._in_schema("SELECT {schema}.") + call
        rows = self._run(doing, sql, (*parameters, _lock_wait()), traffic)
        return _text(rows[0][0])

    def _in_schema(self, sql: str) -> str:
        return sql.replace("{schema}", self._schema)

    def _run(
        self, doing: str, sql: str, parameters: Sequence[Parameter], traffic: TrafficClass
    ) -> Rows:
        return self.prepared(
            lambda: self.transport.run(doing, sql, parameters, traffic=traffic), doing
        )

    def prepared(self, request: Callable[[], ResultT], doing: str) -> ResultT:
        """Make a request, and create the tables if they are missing.

        Args:
            request: raises `ServerError`; it is called again after the tables were created.
            doing: what it is for, for messages.
        """
        try:
            try:
                return request()
            except ServerError as error:
                if error.code not in MISSING_OBJECT:
                    raise
                self._create()  # nothing was applied: the statement names what is missing
                return request()
        except ServerError as error:
            raise statement_error(error, doing) from error

    def _create(self) -> None:
        try:
            self.transport.run_script("create the schema", schema_sql(self.options.schema))
        except ServerError as error:
            if error.code == "42501":
                raise StoreRefused(
                    f"cannot create the schema {self.options.schema!r}: {error}; grant the user CREATE on the "
                    "database, or let an administrator apply leadership_postgres.schema_sql() and grant "
                    "what the documentation lists"
                ) from error
            raise

    def close(self) -> None:
        """Abort the requests under way, and let no other begin; may be called again."""
        self.transport.close()

    def after_fork_in_child(self) -> None:
        """Let no request begin; takes no lock, and touches no socket."""
        self.transport.after_fork_in_child()


def range_below(prefix: str) -> tuple[str, str | None]:
    """The first key that may be below a prefix, and the first that is behind all of these."""
    return (f"{prefix}/", f"{prefix}0") if prefix else ("", None)  # "0" follows "/"


def array_of(texts: Iterable[str]) -> str:
    """The literal of an array of texts."""
    escaped = (one.replace("\\", "\\\\").replace('"', '\\"') for one in texts)
    return "{" + ",".join(f'"{one}"' for one in escaped) + "}"


def _expectation(expect: Expected) -> tuple[Parameter, ...]:
    if expect is ANY:
        return "any", None, None, None
    if expect is ABSENT:
        return "absent", None, None, None
    assert isinstance(expect, Entry)
    return "entry", expect.revision, expect.value, expect.session


def _key_value(row: tuple[bytes | None, ...]) -> KeyValue:
    session = None if row[3] is None else _text(row[3])
    entry = Entry(_text(row[0]), row[1] or b"", int(_text(row[2])), session)
    left = _text(row[4])
    return KeyValue(entry, float(left) if left else math.inf)


def _refuse_standby(rows: Rows) -> None:
    if rows and rows[0][-1] == b"true":
        raise NotApplied(
            "the server that answers is a standby, which may lag: the URL must name the primary"
        )


def _places(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _lock_wait() -> int:
    """Milliseconds for which the server may wait for a lock: not longer than we wait for the answer."""
    return max(1, min(math.floor(remaining_timeout() * 950), 2**31 - 1))
