"""The requests to Consul's HTTP API, through py-consul; each method makes one.

See https://developer.hashicorp.com/consul/api-docs.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from consul import base
from consul.callback import CB
from consul.exceptions import ACLPermissionDenied, ConsulException, NotFound

from leadership_core.backend import (
    ConfigurationError,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
    call_timeout,
    clock,
    one_line,
    remaining_timeout,
)

from .connection import Connection
from .errors import OLDEST, NotConsul, is_unknown_path, map_errors, ttl_is_refused, ttl_refusal
from .options import Options, format_go_duration, parse_go_duration
from .responses import (
    KeyValue,
    LastList,
    Operation,
    decode_value,
    iter_objects,
    parse_kv,
    parse_kv_list,
    parse_session_id,
    parse_txn,
    txn_results_start,
)
from .transport import Transport

__all__ = ["Client", "KeyValue", "Operation", "TxnConflict", "operation"]

_CONFLICT = re.compile("lock|index|exist|invalid session")
"""In Consul's reasons why a key, or a session, does not meet a transaction's condition."""

_UNKNOWN_VERB = re.compile("(unknown|invalid) .*(verb|operation)", re.IGNORECASE)

_POLL_GRACE = 5.0  # seconds by which the answer of a long poll may be late


class TxnConflict(Exception):  # internal: it is handled within this package
    """A condition of a transaction is not met; nothing was written.

    Attributes:
        step: index of the operation that Consul refused.
        reason: Consul's text.
    """

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason


def operation(
    verb: str,
    key: str,
    *,
    index: int | None = None,
    value: bytes | None = None,
    flags: int | None = None,
    session: str | None = None,
) -> Operation:
    """One operation of a transaction.

    See https://developer.hashicorp.com/consul/api-docs/txn#kv-operations.

    Args:
        verb: what to do with the key.
        key: with the prefix.
        index: for `cas` and `check-index`.
        value: what to write.
        flags: what to write.
        session: for `lock` and `unlock`.
    """
    encoded = None if value is None else base64.b64encode(value).decode()
    said = {"Index": index, "Value": encoded, "Flags": flags, "Session": session}
    return {"Verb": verb, "Key": key} | {k: v for k, v in said.items() if v is not None}


class Client:
    """A client of one Consul datacenter; thread-safe.

    Every method blocks for `remaining_timeout` at most, and raises `StoreUnavailable` if there is
    no answer, or its subclass `StoreRefused` if Consul refuses the request.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._transport = Transport(options.hosts, options.token, options.tls)
        self._has_transactions = False  # until the first one was answered
        self._consul = _Consul(self._transport, options.dc)

    def read(self, key: str) -> KeyValue | None:
        """Read a key, linearizably.

        See https://developer.hashicorp.com/consul/api-docs/features/consistency#consistent.
        """
        with map_errors(f"read {key!r}"):
            _, item = self._consul.kv.get(key, consistency="consistent")
            return next(iter(parse_kv(key, item)), None)

    def read_below(self, path: str) -> list[KeyValue]:
        """Read all keys that begin with `path`, linearizably."""
        with map_errors(f"list {path!r}"):
            return self._list(path, [("consistent", "1")])[1]

    def poll(
        self,
        path: str,
        *,
        below: bool,
        index: int = 0,
        wait: float = 0,
        last: LastList | None = None,
    ) -> tuple[int, list[KeyValue]]:
        """Wait for a change: a blocking query.

        See https://developer.hashicorp.com/consul/api-docs/features/blocking. With index 0 the
        answer comes at once, and is linearizable. With another index it is not: a server that was
        restarted and is elected answers from the log that it still replays, and an answer with a
        smaller index than the one sent is an old state.

        Args:
            path: the key.
            below: whether to read all keys that begin with `path` instead.
            index: the index of the last answer; the server waits for a later change.
            wait: seconds for which the server may wait.
            last: the last list, which is returned if the answer is the same text again.

        Returns:
            The index of the answer, and the pairs.
        """
        consistent = not index
        # The agent adds up to a sixteenth of the wait, so that not all clients return at once.
        limit = (wait + wait / 16 if index > 0 else 0) + _POLL_GRACE
        with map_errors(f"watch {path!r}"), call_timeout(limit):
            if below:
                asked = [("index", str(index)), ("wait", f"{wait:g}s")]
                return self._list(path, [("consistent", "1")] if consistent else asked, last)
            after, found = self._consul.kv.get(
                path,
                index=index or None,
                wait=f"{wait:g}s",
                consistency="consistent" if consistent else None,
            )
            return int(after), parse_kv(path, found)

    def _list(
        self, path: str, asked: list[tuple[str, str]], last: LastList | None = None
    ) -> tuple[int, list[KeyValue]]:
        """Read all keys that begin with a path, and the index of the answer.

        Not with py-consul's `kv.get`, which parses the whole answer at once.
        """
        until = clock.now() + remaining_timeout()

        def parsed(response: Any) -> tuple[int, list[KeyValue]]:
            is_list = response.code == 200
            head = base.Response(200, response.headers, "null") if is_list else response
            index, _ = CB.json(index=True)(head)  # raises for an error status
            if last is not None and (known := last.of(response.body)) is not None:
                return int(index), known
            items = iter_objects(response.body, until) if is_list else iter(())
            pairs = parse_kv_list(path, map(decode_value, items))
            if last is not None:
                last.note(response.body, pairs)
            return int(index), pairs

        params = [*asked, ("recurse", "1"), *self._dc()]
        found: tuple[int, list[KeyValue]] = self._transport.get(
            parsed, f"/v1/kv/{path}", params=params
        )
        return found

    def txn(self, *operations: Operation) -> list[KeyValue]:
        """Apply all operations or none; returns their results, in their order.

        See https://developer.hashicorp.com/consul/api-docs/txn.

        Raises:
            TxnConflict: the condition of one of them is not met; nothing was written.
            ConfigurationError: this Consul has no transactions, or not all operations.
            StoreUnavailable: no answer; they may have been applied.
        """
        payload = json.dumps([{"KV": one} for one in operations])
        with map_errors(f"write {operations[-1]['Key']!r}", session=True):
            if any(one["Verb"] == "get-tree" for one in operations):
                return self._list_txn(operations, payload)
            answer = self._raw("/v1/txn", payload, allowed=409)
            self._has_transactions = True
            for refusal in answer.get("Errors") or ():
                what = str(refusal["What"])
                if _CONFLICT.search(what):
                    raise TxnConflict(int(refusal["OpIndex"]), what)
                if _UNKNOWN_VERB.search(what):
                    raise ConfigurationError(
                        f"this Consul does not know a request: {what}; {OLDEST}"
                    )
                if "permission denied" in what.lower():
                    raise ACLPermissionDenied(what)
                raise StoreRefused(f"Consul refuses to write {operations[-1]['Key']!r}: {what}")
            return parse_txn(operations, answer["Results"])

    def _list_txn(self, operations: tuple[Operation, ...], payload: str) -> list[KeyValue]:
        """Apply a transaction without conditions whose answer is a list of any length."""
        until = clock.now() + remaining_timeout()

        def parsed(response: Any) -> list[KeyValue]:
            if response.code != 200:
                CB.json(allow_404=False)(response)
                raise ConsulException(f"{response.code} {response.body}")
            start = txn_results_start(response.body)
            return parse_txn(operations, iter_objects(response.body, until, start))

        found: list[KeyValue] = self._transport.put(
            parsed, "/v1/txn", params=self._dc(), data=payload, is_list=True
        )
        return found

    def create_session(
        self, ttl: float, lock_delay: float, *, name: str = "leadership", deletes: bool = False
    ) -> str:
        """Open a session that depends on its ttl only, and return its id.

        See https://developer.hashicorp.com/consul/api-docs/session#create-session.

        Args:
            ttl: seconds.
            lock_delay: seconds for which its keys cannot be locked after it was invalidated.
            name: which other clients can read.
            deletes: whether its keys are deleted when it ends, rather than unlocked.

        Raises:
            ConfigurationError: the server refuses the ttl.
        """
        said: dict[str, object] = {
            "Name": name,
            "TTL": format_go_duration(ttl),
            "Behavior": "delete" if deletes else "release",
            "LockDelay": format_go_duration(lock_delay),
            # Without these two the session would also end when gossip suspects the agent.
            "NodeChecks": [],
            "Checks": [],
        }
        # Not with py-consul's `session.create`: it takes whole seconds only, and asserts the
        # limits of a server with the default session_ttl_min.
        try:
            with map_errors("open a session"):
                try:
                    return parse_session_id(self._raw("/v1/session/create", json.dumps(said))["ID"])
                except ConsulException as error:
                    if ttl_is_refused(str(error)):
                        raise ttl_refusal(format_go_duration(ttl), str(error)) from error
                    raise
        except NotConsul as error:
            # If it was created all the same, nothing uses it, and it expires.
            raise StoreRefused(f"{error} ({OLDEST})") from error

    def renew_session(self, session: str) -> float:
        """Renew a session; returns the granted ttl in seconds.

        See https://developer.hashicorp.com/consul/api-docs/session#renew-session.

        Raises:
            SessionLost: the session does not exist any more.
        """
        with map_errors("renew the session", session=True):
            try:
                found = self._consul.session.renew(session)
            except NotFound as error:
                # A misconfigured proxy answers with 404, too, but does not mention a session.
                if "session" in str(error).lower():
                    raise SessionLost("Consul has ended the session") from error
                raise
            if parse_session_id(found["ID"]) != session:
                raise ValueError("it is about another session")
            return parse_go_duration(found["TTL"])

    def session_name(self, session: str) -> str | None:
        """Read the name of a session, linearizably; None if there is no such session.

        A session without a name, or whose name the answer omits, has the name "".
        """
        with map_errors("read the session"):
            _, found = self._consul.session.info(session, consistency="consistent")
            return None if found is None else str(found.get("Name") or "")

    def destroy_session(self, session: str) -> None:
        """End a session; it is no error if it does not exist any more."""
        with map_errors("end the session", session=True):
            if not self._consul.session.destroy(session):
                raise StoreUnavailable("cannot end the session: the answer is not Consul's")

    def thread_connection(self) -> Connection:
        """The connection of the calling thread; see `Transport.thread_connection`."""
        return self._transport.thread_connection()

    def close(self) -> None:
        """Abort the requests under way, and let no other begin; may be called again."""
        self._transport.close()

    def after_fork_in_child(self) -> None:
        """Let no request begin; takes no lock, and touches no socket."""
        self._transport.after_fork_in_child()

    def _raw(self, path: str, data: str, *, allowed: int = 200) -> Any:
        def parsed(response: Any) -> Any:
            if response.code == allowed:
                return json.loads(response.body)
            if is_unknown_path(response.code) and not self._has_transactions:
                said = f"{response.code} {one_line(response.body, 100)}"
                if path == "/v1/txn":
                    # Not a refusal, which is tried again once something has worked: sessions work.
                    raise ConfigurationError(f"this Consul has no transactions ({said}); {OLDEST}")
                raise NotConsul(
                    f"the server does not know {path}, so it is no Consul agent ({said}); "
                    "check host and port"
                )
            return CB.json(allow_404=False)(response)

        return self._transport.put(parsed, path, params=self._dc(), data=data)

    def _dc(self) -> list[tuple[str, str]]:
        return [("dc", self.options.dc)] if self.options.dc else []


class _Consul(base.Consul):  # type: ignore[misc]  # py-consul has no types
    """py-consul with our transport, which has the agents' addresses and the token."""

    def __init__(self, transport: Transport, dc: str | None) -> None:
        self._transport = transport
        # Every argument is given, and the token removed: py-consul reads those that are missing,
        # and the token in any case, from the environment, which must not override the URL.
        super().__init__(host="", port=0, scheme=transport.scheme, verify=True, dc=dc)
        self.token = None

    def http_connect(self, *_: Any, **__: Any) -> Transport:
        return self._transport
