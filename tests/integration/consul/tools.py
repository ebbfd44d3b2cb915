"""Helpers for the tests of the Consul store: raw requests, and conditions."""

from __future__ import annotations

import base64
import threading
from typing import Any
from urllib.parse import quote

from leadership_core.backend import Session
from tests.support.servers.consul import Answer, Consul


def raw(consul: Consul, key: str) -> dict[str, Any] | None:
    """The JSON object of a key, or None if there is none."""
    found = consul.request("GET", f"/v1/kv/{quote(key)}?consistent")
    return None if found.status == 404 else found.body[0]


def txn(consul: Consul, *operations: dict[str, Any]) -> Answer:
    """Send a transaction, as a late copy of one would arrive."""
    return consul.request("PUT", "/v1/txn", [{"KV": one} for one in operations])


def companion_of(consul: Consul, session: Session) -> str | None:
    """The id of the session that entries of a session are bound to, if there is one."""
    name = f"leadership entries of {session.id}"
    found = consul.request("GET", "/v1/session/list").body
    return next((one["ID"] for one in found if one["Name"] == name), None)


def encoded(value: bytes) -> str:
    """Base64, as a transaction has its values."""
    return base64.b64encode(value).decode()


def watch_threads() -> list[str]:
    """The names of the threads of all long polls."""
    return [t.name for t in threading.enumerate() if t.name.startswith("leadership-consul-watch")]


def open_links(link: object) -> int:
    links = getattr(link, "_links")  # noqa: B009  # the proxy has no public count
    return len(links)
