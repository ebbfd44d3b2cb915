"""A plugin with mistakes: it compares nothing before it writes, and everybody who stands leads."""

from __future__ import annotations

import time
from collections.abc import Callable

from leadership_core import (
    Claim,
    Closable,
    Entry,
    Leading,
    Session,
    Standing,
    StoreURL,
    hookimpl,
    sqlite,
)
from leadership_core.default_election import DefaultElection
from leadership_core.sqlite import SqliteStore
from leadership_core.store import ANY, Expected


class Anarchy(DefaultElection):
    """Nobody waits for anybody."""

    def enter(self, session: Session, value: bytes) -> Claim:
        return Claim(self._key, session, value, token=time.time_ns(), granted=True)

    def standing(self, claim: Claim) -> Standing:
        return Leading(claim.token or 0)

    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        return self._store.watch(self._key, lambda _: None)


class Careless(SqliteStore):
    """Whoever writes last has won."""

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        return super().put(key, value, session=session, fence=fence)

    def election(self, key: str) -> Anarchy:
        return Anarchy(self, key)


@hookimpl
def leadership_open_store(url: StoreURL) -> SqliteStore | None:
    """Open ``broken:///path``."""
    store = sqlite.leadership_open_store(StoreURL.parse(f"sqlite:///{url.path}"))
    if store is not None:
        store.__class__ = Careless
    return store
