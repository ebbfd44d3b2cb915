"""Stores with one mistake each in their sessions, fences or timeouts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from leadership_core import Capability, Entry, Fence
from leadership_core.stores.memory import State
from tests.contract.broken_entries import Broken


class SessionKeepsItsEntries(Broken):
    """Bound entries stay when their session is closed."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        session = how.pop("session", None)
        entry = super().put(key, value, **how)
        return entry if session is None else replace(entry, session=session.id)


class SessionNeverExpires(Broken):
    """The library renews the session by itself as long as the process runs."""

    def open_session(self, ttl: float) -> Any:
        session = super().open_session(1000 * ttl)
        renew, session.ttl = session.renew, ttl  # type: ignore[misc]
        session.renew = lambda: renew() / 1000  # type: ignore[method-assign]  # a stand-in for this test
        return session


class SessionExpiresEarly(Broken):
    """The session expires after half of its ttl."""

    def open_session(self, ttl: float) -> Any:
        session = super().open_session(ttl / 2)
        session.ttl = ttl  # type: ignore[misc]
        renew = session.renew
        session.renew = lambda: 2 * renew()  # type: ignore[method-assign]  # a stand-in for this test
        return session


class SessionReopens(Broken):
    """A renewal of an ended session opens it again."""

    def open_session(self, ttl: float) -> Any:
        session = super().open_session(ttl)

        def renew() -> float:
            if session.id not in self.state.debug_state().sessions:
                self._state.open_session(session.id, ttl)
            return self._state.renew(session.id)

        session.renew = renew  # type: ignore[method-assign]  # a stand-in for this test
        return session


class DeadSessionsMayWrite(Broken):
    """A put with an ended session writes an unbound entry."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        session = how.get("session")
        if session is not None and session.id not in self.state.debug_state().sessions:
            how["session"] = None
        return super().put(key, value, **how)


class WriterKeepsTheOldSession(Broken):
    """A put without a session leaves the entry bound to the one that it had."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        now = self.get(key)
        if how.get("session") is None and now is not None and now.session is not None:
            how["session"] = _Named(now.session)
        return super().put(key, value, **how)


class _Named:
    def __init__(self, identity: str) -> None:
        self.id, self.ttl = identity, 1.0

    def renew(self) -> float:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class FenceIsIgnored(Broken):
    """The fence of a write is ignored."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        return super().put(key, value, **{**how, "fence": None})


class FenceComparesNoToken(Broken):
    """A fenced write succeeds in the term of another leader."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        fence = how.get("fence")
        if fence is not None and (claim := self.get(fence.key)) is not None:
            how["fence"] = Fence(fence.key, claim.revision)
        return super().put(key, value, **how)


class TimeoutIsIgnored(Broken):
    """A read takes longer than its timeout."""

    def get(self, key: str) -> Entry | None:
        threading.Event().wait(1.2 if key.endswith("/a") else 0)
        return super().get(key)


class CloseLeavesAThread(Broken):
    """A polling thread runs on after close."""

    def __init__(self, state: State | None = None, prefix: str = "") -> None:
        super().__init__(state, prefix)
        self._over = threading.Event()

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        threading.Thread(target=self._over.wait, args=[30], daemon=True).start()
        return super().watch(key, on_change, tree=tree)

    def __del__(self) -> None:
        self._over.set()


class DeclaresTooLittle(Broken):
    """The store declares fewer capabilities than it is tested for."""

    capabilities = frozenset({Capability.SESSIONS})  # type: ignore[misc]
