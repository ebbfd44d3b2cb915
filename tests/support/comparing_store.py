"""Store with compare-and-set only, whose elections rest on expiry by observation."""

from __future__ import annotations

from collections.abc import Callable

from leadership_core import ANY, Capability, Closable, Entry, Fence, Session
from leadership_core.backend import (
    Change,
    Expected,
    ObservedElection,
    ObservedSessions,
    end_observation,
    observed_within,
)
from leadership_core.stores.memory import MemoryStore, State

__all__ = ["ComparingStore"]


class ComparingStore:
    """A store that reads, writes and deletes by comparison, and has no sessions.

    Args:
        state: what it shares with other connections.
        capabilities: none, or `GLOBAL_REVISION`.
    """

    expires_by_observation = True

    def __init__(self, state: State, *capabilities: Capability) -> None:
        self.capabilities = frozenset(capabilities)
        self.time_source = state.time_source
        self._inner = MemoryStore(state)
        self.sessions = ObservedSessions(self)

    def expires_within(self, ttl: float) -> float:
        return observed_within(ttl)

    def get(self, key: str) -> Entry | None:
        return self._inner.get(key)

    def list(self, prefix: str) -> list[Entry]:
        return self._inner.list(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        assert session is None
        assert fence is None
        return self._inner.put(key, value, expect=expect)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self._inner.delete(key, expect=expect)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self._inner.watch(key, on_change, tree=tree)

    def open_session(self, ttl: float) -> Session:
        return self.sessions.open(ttl)

    def election(self, key: str) -> ObservedElection:
        return ObservedElection(self, key, self.sessions)

    def close(self) -> None:
        end_observation(self.sessions)
        self._inner.close()
