"""The Consul store: entries, sessions, elections and watches behind one URL."""

from __future__ import annotations

from collections.abc import Callable, Set as AbstractSet

from leadership_core.backend import (
    ANY,
    Capability,
    Change,
    Closable,
    Entry,
    Expected,
    Fence,
    RateLimiter,
    Session,
    StoreUnavailable,
    StoreURL,
    inert_in_child,
    remaining_timeout,
)

from .client import Client
from .election import ConsulElection
from .kv import KVEntries, path_below
from .options import Options
from .session import ConsulSession
from .subscriptions import Found, WatchScope
from .watch import Watcher

__all__ = ["ConsulStore"]

_LOSS_RATE, _LOSS_BURST = 0.5, 4.0  # sessions per second that replace lost ones
_RETRY_RATE, _RETRY_BURST = 2.0, 4.0  # failed attempts per second to open and to renew a session


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class ConsulStore:
    """A Consul datacenter; thread-safe. See `leadership_core.backend.StoreBackend`.

    The revision of an entry is its modify index. Every method that makes a request blocks for
    `remaining_timeout` at most.

    Args:
        url: ``consul[+tls]://[:token@]host[:port][,host...][/prefix][?option=value]``.

    Raises:
        ConfigurationError: the URL is wrong, or a file that it names cannot be used.
    """

    least_margin: float = 0.0

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._options = Options.read(url)
        self.client: Client = Client(self._options)
        self._entries = KVEntries(self.client)
        self._watcher = Watcher(self.client)
        self._losses = RateLimiter(_LOSS_BURST, _LOSS_RATE)
        self._retries = RateLimiter(_RETRY_BURST, _RETRY_RATE)

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        return frozenset(Capability)

    @property
    def prefix(self) -> str:
        return self._options.prefix

    def expires_within(self, ttl: float) -> float:
        # Consul invalidates a session after twice its ttl at the latest:
        # https://developer.hashicorp.com/consul/api-docs/session#ttl
        return 2 * ttl + self._options.lock_delay

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def exists(self, key: str) -> bool:
        return self._entries.exists(key)

    def list(self, prefix: str) -> list[Entry]:
        return self._entries.list_below(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
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
        def on_state(found: Found, _: bool) -> None:
            if isinstance(found, StoreUnavailable):
                on_change(found)
                return
            entries = self._entries.seen(found)
            if tree:
                on_change(entries)
            else:
                on_change(entries[0] if entries else None)

        scope = WatchScope(path_below(key), below=True) if tree else WatchScope(key)
        return self._watcher.subscribe(scope, on_state)

    def open_session(self, ttl: float) -> ConsulSession:
        if (delay := max(self._losses.delay(), self._retries.delay())) > 0:
            limit = remaining_timeout() / 2
            self._watcher.ended.wait(min(delay, limit))
            if delay > limit:  # otherwise sessions would be opened as fast as they are lost
                raise StoreUnavailable(
                    f"sessions expire as fast as they are opened; backing off for {delay:.1f} s"
                )
        self._retries.consume()
        return ConsulSession.open(self.client, ttl, self._losses.consume, self._retries)

    def election(self, key: str) -> ConsulElection:
        return ConsulElection(self.client, self._watcher, key)

    def close(self) -> None:
        self._watcher.close()
        self.client.close()

    def after_fork_in_child(self) -> None:
        self._watcher.after_fork_in_child()
        self.client.after_fork_in_child()

    def __repr__(self) -> str:
        return f"<ConsulStore {self._url}>"
