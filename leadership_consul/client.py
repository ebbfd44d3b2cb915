"""The requests that we make, each once, through py-consul and in our own terms."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from consul import base
from consul.callback import CB
from consul.exceptions import ACLPermissionDenied, ConsulException, NotFound

from leadership_core import clock
from leadership_core.budget import budget, remaining_budget
from leadership_core.errors import (
    ConfigurationError,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.text import one_line

from .durations import duration, parse_duration
from .errors import OLDEST, NotConsul, is_unknown_path, translated, ttl_is_refused
from .lane import Lane
from .lists import items_of, records_text_of, with_value
from .options import Options
from .records import Operation, Record, records_at, records_below, records_of, session_id
from .transport import Transport

__all__ = ["Client", "Operation", "Record", "TxnRefused", "operation"]

_RACE = re.compile("lock|index|exist|invalid session")
"""How Consul words that a key, or a session, is not as a transaction wants it."""

_UNKNOWN_VERB = re.compile("(unknown|invalid) .*(verb|operation)", re.IGNORECASE)

_SLACK = 5.0  # seconds that the answer of a long poll may be late


class TxnRefused(Exception):  # it never leaves this package
    """Consul has decided not to do a transaction; nothing was written.

    Attributes:
        step: which operation it refused.
        what: why, in its own words.
    """

    def __init__(self, step: int, what: str) -> None:
        super().__init__(what)
        self.step = step
        self.what = what


def operation(
    verb: str,
    key: str,
    *,
    index: int | None = None,
    value: bytes | None = None,
    flags: int | None = None,
    session: str | None = None,
) -> Operation:
    """Write down one operation of a transaction."""
    encoded = None if value is None else base64.b64encode(value).decode()
    said = {"Index": index, "Value": encoded, "Flags": flags, "Session": session}
    return {"Verb": verb, "Key": key} | {k: v for k, v in said.items() if v is not None}


class Client:
    """A Consul; safe for several threads. Every call takes at most the budget."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._transport = Transport(options.hosts, options.token, options.tls)
        self._has_transactions = False  # as long as none was answered
        self._consul = _Consul(self._transport, options.dc)

    def read(self, key: str) -> Record | None:
        """Read a key, linearizably."""
        with translated(f"read {key!r}"):
            _, item = self._consul.kv.get(key, consistency="consistent")
            return next(iter(records_at(key, item)), None)

    def read_below(self, path: str) -> list[Record]:
        """Read all keys that begin with `path`, linearizably."""
        with translated(f"list {path!r}"):
            return self._list(path, [("consistent", "1")])[1]

    def poll(
        self, path: str, *, below: bool, index: int = 0, wait: float = 0
    ) -> tuple[int, list[Record]]:
        """Wait up to `wait` seconds for a change after `index`; returns where it is now.

        With index 0 the answer comes at once, and is linearizable. With another one a server that
        was started again and is elected answers from the log that it still replays: what has a
        smaller index than was asked for is an old state.
        """
        consistent = not index
        # The agent adds up to a sixteenth of the wait, so that not all clients come back at once.
        limit = (wait + wait / 16 if index > 0 else 0) + _SLACK
        with translated(f"watch {path!r}"), budget(limit):
            if below:
                asked = [("index", str(index)), ("wait", f"{wait:g}s")]
                return self._list(path, [("consistent", "1")] if consistent else asked)
            after, found = self._consul.kv.get(
                path,
                index=index or None,
                wait=f"{wait:g}s",
                consistency="consistent" if consistent else None,
            )
            return int(after), records_at(path, found)

    def _list(self, path: str, asked: list[tuple[str, str]]) -> tuple[int, list[Record]]:
        """Read all keys that begin with a path, and the index of what was read.

        Not by py-consul, which takes the whole answer apart before anybody can look at it.
        """
        until = clock.now() + remaining_budget()

        def parsed(response: Any) -> tuple[int, list[Record]]:
            is_list = response.code == 200
            shown = base.Response(200, response.headers, "null") if is_list else response
            index, _ = CB.json(index=True)(shown)  # raises for what is an error
            items = items_of(response.body, until) if is_list else iter(())
            return int(index), records_below(path, map(with_value, items))

        params = [*asked, ("recurse", "1"), *self._dc()]
        found: tuple[int, list[Record]] = self._transport.get(
            parsed, f"/v1/kv/{path}", params=params
        )
        return found

    def txn(self, *operations: Operation) -> list[Record]:
        """Do all operations at once or none; returns what they left, in their order.

        Raises:
            TxnRefused: one of them does not apply, so none was done.
            StoreUnavailable: no answer; they may have been done.
        """
        payload = json.dumps([{"KV": one} for one in operations])
        with translated(f"write {operations[-1]['Key']!r}", session=True):
            if any(one["Verb"] == "get-tree" for one in operations):
                return self._long_txn(operations, payload)
            answer = self._raw("/v1/txn", payload, allowed=409)
            self._has_transactions = True
            for refusal in answer.get("Errors") or ():
                what = str(refusal["What"])
                if _RACE.search(what):
                    raise TxnRefused(int(refusal["OpIndex"]), what)
                if _UNKNOWN_VERB.search(what):
                    raise ConfigurationError(
                        f"this Consul does not know a request: {what}; {OLDEST}"
                    )
                if "permission denied" in what.lower():
                    raise ACLPermissionDenied(what)
                raise StoreRefused(f"Consul refuses to write {operations[-1]['Key']!r}: {what}")
            return records_of(operations, answer["Results"])

    def _long_txn(self, operations: tuple[Operation, ...], payload: str) -> list[Record]:
        """Do a transaction that lists what it does, which nothing but an error keeps from it."""
        until = clock.now() + remaining_budget()

        def parsed(response: Any) -> list[Record]:
            if response.code != 200:
                CB.json(allow_404=False)(response)
                raise ConsulException(f"{response.code} {response.body}")
            start = records_text_of(response.body)
            return records_of(operations, items_of(response.body, until, start))

        found: list[Record] = self._transport.put(
            parsed, "/v1/txn", params=self._dc(), data=payload, long=True
        )
        return found

    def create_session(
        self, ttl: float, lock_delay: float, *, name: str = "leadership", deletes: bool = False
    ) -> str:
        """Open a session that depends on nothing but its ttl, and return its id.

        Args:
            ttl: seconds.
            lock_delay: seconds for which its keys cannot be locked after it was lost.
            name: what others can read of it.
            deletes: whether its keys are deleted when it ends, rather than unlocked.

        Raises:
            ConfigurationError: the server refuses the ttl.
        """
        said: dict[str, object] = {
            "Name": name,
            "TTL": duration(ttl),
            "Behavior": "delete" if deletes else "release",
            "LockDelay": duration(lock_delay),
            # Without these two, the session would also end when gossip suspects the agent.
            "NodeChecks": [],
            "Checks": [],
        }
        # Not py-consul's own: it takes whole seconds only, and asserts the limits of a server
        # whose session_ttl_min nobody has lowered.
        try:
            return self._create_session(json.dumps(said), ttl)
        except NotConsul as error:
            # Whatever became of it: nothing knows of such a session, and it ends by itself.
            raise StoreRefused(f"{error} ({OLDEST})") from error

    def _create_session(self, said: str, ttl: float) -> str:
        with translated("open a session"):
            try:
                return session_id(self._raw("/v1/session/create", said)["ID"])
            except ConsulException as error:
                if ttl_is_refused(str(error)):
                    raise _ttl_refused(ttl, str(error)) from error
                raise

    def renew_session(self, session: str) -> float:
        """Make the server count anew; returns the ttl in force, in seconds."""
        with translated("renew the session", session=True):
            try:
                found = self._consul.session.renew(session)
            except NotFound as error:
                # A proxy that has lost its way says 404, too, but not of a session.
                if "session" in str(error).lower():
                    raise SessionLost("Consul has ended the session") from error
                raise
            if session_id(found["ID"]) != session:
                raise ValueError("it is about another session")
            return parse_duration(found["TTL"])

    def session_name(self, session: str) -> str | None:
        """Ask for the name of a session, linearizably; None if there is no such session.

        One that has no name, or whose name the answer leaves out, is there all the same: "".
        """
        with translated("look at the session"):
            _, found = self._consul.session.info(session, consistency="consistent")
            return None if found is None else str(found.get("Name") or "")

    def destroy_session(self, session: str) -> None:
        """End a session; one that is gone already is no error."""
        with translated("end the session", session=True):
            if not self._consul.session.destroy(session):
                raise StoreUnavailable("cannot end the session: the answer is not Consul's")

    def lane(self) -> Lane:
        """The calling thread's connections."""
        return self._transport.lane()

    def close(self) -> None:
        """Cut off what is under way; may be called again."""
        self._transport.close()

    def _raw(self, path: str, data: str, *, allowed: int = 200) -> Any:
        def parsed(response: Any) -> Any:
            if response.code == allowed:
                return json.loads(response.body)
            if is_unknown_path(response.code) and not self._has_transactions:
                self._refuse(path, response.code, response.body)
            return CB.json(allow_404=False)(response)

        return self._transport.put(parsed, path, params=self._dc(), data=data)

    @staticmethod
    def _refuse(path: str, status: int, body: str) -> None:
        said = f"{status} {one_line(body, 100)}"
        if path == "/v1/txn":
            # Not a refusal that is tried again once something has worked: sessions always work.
            raise ConfigurationError(f"this Consul knows no transactions ({said}); {OLDEST}")
        raise NotConsul(
            f"what answers does not know {path}, as no Consul agent does ({said}); check host and port"
        )

    def _dc(self) -> list[tuple[str, str]]:
        return [("dc", self.options.dc)] if self.options.dc else []


class _Consul(base.Consul):  # type: ignore[misc]  # py-consul has no types
    """py-consul over our transport, which alone knows the agents and the token."""

    def __init__(self, transport: Transport, dc: str | None) -> None:
        self._transport = transport
        # Every argument is given, and the token taken back: each one that is missing, and the
        # token in any case, would be taken from the environment, whatever the URL says.
        super().__init__(host="", port=0, scheme=transport.scheme, verify=True, dc=dc)
        self.token = None

    def http_connect(self, *_: Any, **__: Any) -> Transport:
        return self._transport


def _ttl_refused(ttl: float, said: str) -> ConfigurationError:
    bounds = re.search(r"\[([\w.]{1,20})=([\w.]{1,20})\]", said, re.ASCII)
    allowed = (
        f"from {bounds[1]} to {bounds[2]}" if bounds else f"other values ({one_line(said, 200)})"
    )
    return ConfigurationError(
        f"Consul refuses a ttl of {duration(ttl)}: this server allows {allowed}; ask for a ttl within that, "
        "or lower session_ttl_min in the configuration of the Consul servers"
    )
