"""Valid answers of a Consul, as a start for tests with wrong answers.

With wrong answers only, a client stops at the first one; its later steps need valid answers before.
There is no store behind them: each answer is made from the request, so a lock is always granted,
and always held by the session of the last request.
"""

from __future__ import annotations

import base64
import json
import threading
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.fuzz.hostile_server import Request

__all__ = ["SESSION", "ValidReplies"]

SESSION = "adf4238a-882b-9ddc-4a9d-5b6758e4159e"
LOCK_FLAG = 0x2DDCCBC058A50C18


class ValidReplies:
    """Answers of a Consul without a store; safe for several threads.

    Args:
        grants: whether locks are granted.
        ttl: of sessions, as the server writes it.
        leader: value of the first holder of the lock.
    """

    def __init__(
        self, *, grants: bool = True, ttl: str | None = None, leader: str | None = None
    ) -> None:
        self.grants = grants
        self.ttl = ttl
        self._asked = "15s"
        self._index = 10
        self._held: tuple[int, str, str] | None = None  # index, session, value
        if leader is not None:
            self._held = self._index, "another", base64.b64encode(leader.encode()).decode()
        self._lock = threading.Lock()

    def say(self, request: Request) -> tuple[str, Any, dict[str, str]]:
        """Status, document and headers."""
        with self._lock:
            head = {"X-Consul-Index": str(self._index)}
            path = request.path
            if path.startswith("/v1/session/create"):
                self._asked = json.loads(request.body or b"{}").get("TTL", "15s")
                return "200 OK", {"ID": SESSION}, head
            if path.startswith("/v1/session/renew"):
                return "200 OK", [{"ID": SESSION, "TTL": self.ttl or self._asked}], head
            if path.startswith("/v1/session/info"):
                return "200 OK", [{"ID": SESSION, "Name": "leadership"}], head
            if path.startswith("/v1/session/destroy"):
                return "200 OK", True, head
            if path.startswith("/v1/txn"):
                return *self._txn(json.loads(request.body)), head
            key = unquote(path.removeprefix("/v1/kv/"))
            found = [self.record(key)] if self._held else None
            if "recurse" in parse_qs(request.query) and found:
                found[0]["Key"] += "x"
            return ("200 OK", found, head) if found else ("404 Not Found", None, head)

    def record(self, key: str, *, value: bool = True) -> dict[str, Any]:
        index, session, text = self._held or (self._index, "", "")
        made: dict[str, Any] = {
            "LockIndex": 1 if session else 0,
            "Key": key,
            "Flags": LOCK_FLAG,
            "CreateIndex": 9,
            "ModifyIndex": index,
        }
        if value:
            made["Value"] = text
        if session:
            made["Session"] = session
        return made

    def _txn(self, operations: list[Any]) -> tuple[str, Any]:
        results = []
        for one in (operation["KV"] for operation in operations):
            if one["Verb"] == "lock" and not self.grants:
                refusal = {"OpIndex": 1, "What": "failed to lock key, lock is already held"}
                return "409 Conflict", {"Results": None, "Errors": [refusal]}
            if one["Verb"] in {"lock", "unlock", "set", "cas"}:
                self._index += 1
                session = one["Session"] if one["Verb"] == "lock" else ""
                self._held = self._index, session, one.get("Value", "")
            if one["Verb"] not in {"delete", "delete-tree"}:
                results.append({"KV": self.record(one["Key"], value=False)})
        return "200 OK", {"Results": results, "Errors": None}
