"""The contract on a store with only what is required."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from leadership_core import ANY, Closable, Entry, Fence, Session
from leadership_core.backend.entries import Change, Expected
from leadership_core.stores.memory import MemoryStore, State
from leadership_core.testing import ElectionContract, Sandbox, StoreContract

pytestmark = pytest.mark.slow


class Least:
    """A store without optional attributes, elections or trees, which the core provides."""

    def __init__(self, state: State) -> None:
        self._inner = MemoryStore(state)

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
        return self._inner.put(key, value, expect=expect, session=session)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self._inner.delete(key, expect=expect)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        return self._inner.watch(key, on_change, tree=tree)

    def open_session(self, ttl: float) -> Session:
        return self._inner.open_session(ttl)

    def close(self) -> None:
        self._inner.close()


class TestLeast(StoreContract, ElectionContract, outages=()):
    """The core counts the terms in an entry beside the key."""

    @pytest.fixture
    def sandbox(self) -> Iterator[Sandbox]:
        """A sandbox of a store that no URL opens."""
        state = State()
        with Sandbox(lambda: Least(state), ttl=1.0) as sandbox:
            yield sandbox
