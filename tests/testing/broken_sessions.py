"""Stores with one mistake each in their sessions, fences or bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from leadership_core import Capability, Entry
from leadership_core.memory import State
from tests.testing.broken_entries import Broken


class SessionKeepsItsEntries(Broken):
    """They stay when it is closed."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        session = how.pop("session", None)
        entry = super().put(key, value, **how)
        return entry if session is None else replace(entry, session=session.id)


class SessionNeverExpires(Broken):
    """The library renews it by itself, for as long as the process lives."""

    def open_session(self, ttl: float) -> Any:
        session = super().open_session(1000 * ttl)
        renew, session.ttl = session.renew, ttl  # type: ignore[misc]
        session.renew = lambda: renew() / 1000  # type: ignore[method-assign]
        return session


class SessionExpiresEarly(Broken):
    """Half of the ttl is enough for anybody."""

    def open_session(self, ttl: float) -> Any:
        session = super().open_session(ttl / 2)
        session.ttl = ttl  # type: ignore[misc]
        renew = session.renew
        session.renew = lambda: 2 * renew()  # type: ignore[method-assign]
        return session


class SessionRisesAgain(Broken):
    """A renewal of one that is gone opens it anew."""

    def open_session(self, ttl: float) -> Any:
        session = super().open_session(ttl)

        def renew() -> float:
            if session.id not in self._state._sessions:
                self._state.open_session(session.id, ttl)
            return self._state.renew(session.id)

        session.renew = renew  # type: ignore[method-assign]
        return session


class DeadSessionsMayWrite(Broken):
    """A put with one that is gone is a put without one."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        session = how.get("session")
        if session is not None and session.id not in self._state._sessions:
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
    """Fenced writes are writes."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        return super().put(key, value, **{**how, "fence": None})


class FenceComparesNoToken(Broken):
    """Whoever leads now may write, for whichever term."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        fence = how.get("fence")
        if fence is not None and (claim := self.get(fence[0])) is not None:
            how["fence"] = (fence[0], claim.revision)
        return super().put(key, value, **how)


class BudgetIsIgnored(Broken):
    """A read takes its time."""

    def get(self, key: str) -> Entry | None:
        threading.Event().wait(1.2 if key.endswith("/a") else 0)
        return super().get(key)


class CloseLeavesAThread(Broken):
    """A poller that nobody ends."""

    def __init__(self, state: State | None = None, prefix: str = "") -> None:
        super().__init__(state, prefix)
        self._over = threading.Event()

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        threading.Thread(target=self._over.wait, args=[30], daemon=True).start()
        return super().watch(key, on_change, tree=tree)

    def __del__(self) -> None:
        self._over.set()


class DeclaresTooLittle(Broken):
    """It is tested for more."""

    capabilities = frozenset({Capability.SESSIONS})  # type: ignore[misc]
