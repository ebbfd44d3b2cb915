"""The Kubernetes store: entries, sessions, elections and watches behind one URL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Set as AbstractSet

from leadership_core.backend import (
    ANY,
    Capability,
    Change,
    Closable,
    ConfigurationError,
    Entry,
    Expected,
    Fence,
    Session,
    StoreUnavailable,
    StoreURL,
    inert_in_child,
    observed_within,
)

from .client import Client
from .election import KubernetesElection
from .kv import LeaseEntries
from .lease import Lease
from .names import name_of
from .options import Options
from .session import KubernetesSession
from .watch import State, Watcher

__all__ = ["KubernetesStore"]


@inert_in_child(
    "get", "list", "put", "delete", "delete_tree", "watch", "open_session", "election",
    silent=("close",),
)  # fmt: skip
class KubernetesStore:
    """The Leases of a namespace; thread-safe. See `leadership_core.backend.StoreBackend`.

    The revision of an entry is its resource version, that of a claim its token. Every method that
    makes a request blocks for `remaining_timeout` at most.

    Args:
        url: ``kubernetes://[:token@][host[:port][,host...]][/namespace[/prefix]][?option=value]``.

    Raises:
        ConfigurationError: the URL is wrong, or a file that it names cannot be used.
    """

    least_margin: float = 0.0
    expires_by_observation: bool = True

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._options = Options.read(url)
        self.client: Client = Client(self._options)
        self._entries = LeaseEntries(self.client)
        self._watcher = Watcher(self.client)

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        # No entry ends with a session: nothing in Kubernetes deletes a Lease in time. And no write
        # is atomic with the check of another object.
        return frozenset({Capability.GLOBAL_REVISION})

    @property
    def prefix(self) -> str:
        return self._options.prefix

    def expires_within(self, ttl: float) -> float:
        return observed_within(ttl)

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def exists(self, key: str) -> bool:
        return self._entries.get(key) is not None

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
        if session is not None or fence is not None:
            raise ConfigurationError(
                "kubernetes:// has no entries that end with a session, and no fenced writes"
            )
        return self._entries.put(key, value, expect)

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
        last: list[object] = [_NOTHING]

        def report(state: Change) -> None:
            if isinstance(state, StoreUnavailable):
                last[0] = _NOTHING
                on_change(state)
            elif state != last[0]:
                last[0] = state
                on_change(state)

        def on_state(state: State) -> None:
            lease = state.lease
            report(lease if isinstance(lease, StoreUnavailable) else self._entries.entry_of(lease))

        def on_all(found: Collection[Lease] | StoreUnavailable) -> None:
            if isinstance(found, StoreUnavailable):
                report(found)
            else:
                report(self._entries.entries_of(found, key))

        if tree:
            return self._watcher.subscribe_all(on_all)
        return self._watcher.subscribe(name_of(key), on_state)

    def open_session(self, ttl: float) -> KubernetesSession:
        return KubernetesSession.open(self.client, ttl)

    def election(self, key: str) -> KubernetesElection:
        return KubernetesElection(self.client, self._watcher, key)

    def close(self) -> None:
        # The client first: it ends the requests that the threads of the watches wait for.
        self.client.close()
        self._watcher.close()

    def after_fork_in_child(self) -> None:
        self._watcher.after_fork_in_child()
        self.client.after_fork_in_child()

    def __repr__(self) -> str:
        return f"<KubernetesStore {self._url}>"


_NOTHING = object()
