"""A plugin with two mistakes: writes are not conditional, and every candidate leads."""

from __future__ import annotations

import time
from collections.abc import Callable

from leadership_core import Closable, Entry, Fence, Session, StoreURL
from leadership_core.backend import Claim, ClaimStatus, Leading, hookimpl
from leadership_core.backend.default_election import DefaultElection
from leadership_core.backend.entries import ANY, Expected
from leadership_core.stores import sqlite
from leadership_core.stores.sqlite import SqliteStore


class EveryClaimLeads(DefaultElection):
    """An election in which every claim leads."""

    def enter(self, session: Session, value: bytes) -> Claim:
        return Claim(self._key, session, value, token=time.time_ns(), granted=True)

    def status(self, claim: Claim) -> ClaimStatus:
        return Leading(claim.token or 0)

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        return self._store.watch(self._key, lambda _: None)


class Unconditional(SqliteStore):
    """A store that ignores `expect` and `fence`."""

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        return super().put(key, value, session=session, fence=fence)

    def election(self, key: str) -> EveryClaimLeads:
        return EveryClaimLeads(self, key)


@hookimpl
def leadership_open_store(url: StoreURL) -> SqliteStore | None:
    """Open ``broken:///path``."""
    store = sqlite.leadership_open_store(StoreURL.parse(f"sqlite:///{url.path}"))
    if store is not None:
        store.__class__ = Unconditional
    return store
