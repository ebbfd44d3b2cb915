"""The Consul store: entries, sessions, elections and watches behind one URL."""

from __future__ import annotations

from collections.abc import Callable, Set as AbstractSet

from leadership_core.budget import remaining_budget
from leadership_core.errors import StoreUnavailable
from leadership_core.fork import inert_in_child
from leadership_core.store import (
    ANY,
    Capability,
    Change,
    Closable,
    Entry,
    Expected,
    Session,
)
from leadership_core.url import StoreURL

from .client import Client
from .election import ConsulElection
from .entries import Entries, below
from .options import Options
from .pace import Pace
from .session import ConsulSession
from .view import Found, Scope
from .watch import Watcher

__all__ = ["ConsulStore"]

_RATE, _BURST = 0.5, 4.0  # sessions a second that may follow on lost ones
_TRIES, _TRIES_BURST = 2.0, 4.0  # a second, to open one and to renew it, that come to nothing


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class ConsulStore:
    """A Consul; see `leadership_core.store.Store`.

    Its revisions are Consul's modify indexes.

    Args:
        url: ``consul[+tls]://[:token@]host[:port][,host...][/prefix][?option=value]``.

    Raises:
        ConfigurationError: the URL does not work; nobody was contacted.
    """

    least_margin = 0.0

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._options = Options.read(url)
        self._client = Client(self._options)
        self._entries = Entries(self._client)
        self._watcher = Watcher(self._client)
        self._losses = Pace(_RATE, _BURST)
        self._tries = Pace(_TRIES, _TRIES_BURST)

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        return frozenset(Capability)

    @property
    def prefix(self) -> str:
        return self._options.prefix

    def expires_within(self, ttl: float) -> float:
        # Consul counts a ttl twice before it acts on it.
        return 2 * ttl + self._options.lock_delay

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def exists(self, key: str) -> bool:
        return self._entries.exists(key)

    def list(self, prefix: str) -> list[Entry]:
        return self._entries.tree(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        return self._entries.put(key, value, expect, session, fence)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self._entries.delete(key, expect)

    def delete_tree(self, prefix: str) -> int:
        return self._entries.delete_tree(prefix)

    def watch(
        self,
        key: str,
        on_change: Callable[[Change], None],
        *,
        tree: bool = False,
    ) -> Closable:
        def look(found: Found, _: bool) -> None:
            if isinstance(found, StoreUnavailable):
                on_change(found)
                return
            entries = self._entries.seen(found)
            if tree:
                on_change(entries)
            else:
                on_change(entries[0] if entries else None)

        scope = Scope(below(key), below=True) if tree else Scope(key)
        return self._watcher.subscribe(scope, look)

    def open_session(self, ttl: float) -> ConsulSession:
        if (wait := max(self._losses.wait(), self._tries.wait())) > 0:
            limit = remaining_budget() / 2
            self._watcher.ended.wait(min(wait, limit))
            if wait > limit:  # as fast as they are lost they would be opened, for ever
                raise StoreUnavailable("sessions come to nothing; the next try comes later")
        self._tries.spend()
        return ConsulSession.open(self._client, ttl, self._losses.spend, self._tries)

    def election(self, key: str) -> ConsulElection:
        return ConsulElection(self._client, self._watcher, key)

    def close(self) -> None:
        self._watcher.close()
        self._client.close()

    def __repr__(self) -> str:
        return f"<ConsulStore {self._url}>"
