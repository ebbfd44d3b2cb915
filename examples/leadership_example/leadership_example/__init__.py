"""The store `redis-example[+tls]://[[user]:password@]host[:port][/prefix]`: entries and sessions in a Redis."""

import math
import uuid
from collections.abc import Callable, Sequence

from leadership_core.backend import (
    ANY,
    Capability,
    Change,
    Closable,
    Entry,
    Expected,
    Fence,
    PollingWatcher,
    Session,
    StoreURL,
    errors,
    hookimpl,
)

from .client import Client

# Seconds between two reads of a watch without a notification: an expiry of a session causes none.
POLL_INTERVAL = 0.1


@hookimpl
def leadership_open_store(url: StoreURL) -> "RedisStore | None":
    """Open the store of a `redis-example://` URL."""
    return RedisStore(url) if url.scheme == "redis-example" else None


class RedisSession:
    """A key that expires by the server's clock; see `leadership_core.backend.Session`."""

    def __init__(self, client: Client, ttl: float) -> None:
        if not (math.isfinite(ttl) and 0 < ttl < 1e9):
            raise errors.ConfigurationError(f"ttl must be a number of seconds above 0, not {ttl!r}")
        self.id = uuid.uuid4().hex
        self.ttl = float(ttl)
        self._client = client
        self._key = f"leadership:session:{self.id}"
        self._milliseconds = int(ttl * 1000) + 1  # rounded up: it must not end early
        client.request("SET", self._key, "", "PX", self._milliseconds)

    def renew(self) -> float:
        if not self._client.request("PEXPIRE", self._key, self._milliseconds):
            raise errors.SessionLost(f"the session {self.id} is gone")
        return self.ttl

    def close(self) -> None:
        self._client.run_script("close", self.id)


class RedisStore:
    """A store in one Redis; see `leadership_core.backend.StoreBackend`.

    It has no election of its own: the core makes elections from reads and writes.
    """

    capabilities = frozenset(Capability)

    def __init__(self, url: StoreURL) -> None:
        self.prefix = url.prefix
        self._client = Client(url)
        self._watches = PollingWatcher(
            self._read_watched, pause=POLL_INTERVAL, wait=self._client.wait_for_change
        )

    def expires_within(self, ttl: float) -> float:
        return ttl + POLL_INTERVAL

    def get(self, key: str) -> Entry | None:
        return _first(self._client.read(key)[0])

    def list(self, prefix: str) -> list[Entry]:
        return self._client.read(f"{prefix}/")[0]

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        session_id = None if session is None else session.id
        arguments = [key, _encoded(expect), value, session_id or "-"]
        if fence is not None:
            arguments += [fence.key, str(fence.token)]
        revision = int(self._client.run_script("put", *arguments))
        return Entry(key, value, revision, session_id)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return bool(self._client.run_script("delete", key, _encoded(expect)))

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self._watches.add(key, on_change, tree=tree)

    def open_session(self, ttl: float) -> RedisSession:
        return RedisSession(self._client, ttl)

    def close(self) -> None:
        self._watches.close()
        self._client.close()

    def _read_watched(self, watched: Sequence[tuple[str, bool]]) -> Sequence[Change]:
        """Return the present state of all watched keys and trees, read in one request."""
        found = self._client.read(*(f"{key}/" if tree else key for key, tree in watched))
        return [
            entries if tree else _first(entries)
            for (_, tree), entries in zip(watched, found, strict=True)
        ]


def _first(entries: list[Entry]) -> Entry | None:
    return entries[0] if entries else None


def _encoded(expect: Expected) -> str | bytes:
    """Return the expected entry as `script.lua` keeps it, or `any` or `absent`."""
    if not isinstance(expect, Entry):
        return expect.value
    return b"%d %s %s" % (expect.revision, (expect.session or "-").encode(), expect.value)
