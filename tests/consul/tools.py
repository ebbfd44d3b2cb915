"""What the tests of the Consul store need more than once."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from leadership_core.store import Entry
from tests.servers.consul import Answer, Consul


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Poll until the condition holds; fail the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


class Seen(list[Any]):
    """A callback that writes down what it is called with."""

    def __call__(self, what: Any = None) -> None:
        self.append(what)

    def wait(self, condition: Callable[[Any], object], seconds: float = 5.0) -> Any:
        """Wait until the last call was with something like that."""
        wait_until(lambda: self and condition(self[-1]), seconds)
        return self[-1]


def raw(consul: Consul, key: str) -> dict[str, Any] | None:
    """The key as Consul has it."""
    found = consul.request("GET", f"/v1/kv/{quote(key)}?consistent")
    return None if found.status == 404 else found.body[0]


def txn(consul: Consul, *operations: dict[str, Any]) -> Answer:
    """Send a transaction by hand, as a delayed copy of one would arrive."""
    return consul.request("PUT", "/v1/txn", [{"KV": one} for one in operations])


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def watch_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("leadership-consul-watch")]


def has_value(value: bytes) -> Callable[[object], bool]:
    """A condition for `Seen.wait`: an entry with this value."""
    return lambda seen: isinstance(seen, Entry) and seen.value == value
