"""A store that works, and what can go wrong on the way to it.

Entries, sessions and watches are those of `memory://`; requests and answers can be lost, late
or refused, and calls can hang or fail as a plugin with a mistake in it does.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Set as AbstractSet
from enum import Enum, auto
from typing import TypeVar

from leadership_core import (
    ANY,
    Capability,
    Closable,
    Election,
    Entry,
    Session,
    StoreHandle,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.budget import remaining_budget
from leadership_core.default_election import DefaultElection
from leadership_core.memory import MemoryStore, State
from leadership_core.store import Change, Expected

__all__ = ["Fault", "FaultySession", "FaultyStore", "eventually"]

T = TypeVar("T")


class Fault(Enum):
    """What becomes of a call."""

    UNAVAILABLE = auto()  # nothing arrives, and that is known at once
    REFUSED = auto()  # as if permission were denied
    REQUEST_LOST = auto()  # nothing arrives, and the caller waits as long as it may
    REPLY_LOST = auto()  # it takes effect, and the answer does not arrive
    LATE = auto()  # no answer, and it takes effect after `FaultyStore.lateness`
    HANGS = auto()  # it never returns, whatever the budget; it takes effect at `heal`
    CRASHES = auto()  # the plugin has a mistake in it, before the request
    CRASHES_AFTER = auto()  # and after the answer


class FaultySession:
    """A session whose calls go through the faults of its store."""

    def __init__(self, store: FaultyStore, session: Session) -> None:
        self.store, self.inner = store, session
        self.id, self.ttl = session.id, session.ttl

    def renew(self) -> float:
        return self.store.through("renew", lambda: self.store.granted or self.inner.renew())

    def close(self) -> None:
        self.store.through("close_session", self.inner.close)


class FaultyStore:
    """A `memory://` store with faults.

    Args:
        state: shared with others that stand in the same elections; they may have other faults.
        without: capabilities to hide.
        least_margin: as a store with coarse clocks has it.
    """

    def __init__(
        self,
        state: State | None = None,
        *,
        without: Iterable[Capability] = (),
        least_margin: float = 0.0,
    ) -> None:
        self.inner = MemoryStore(state)
        self.capabilities: AbstractSet[Capability] = self.inner.capabilities - set(without)
        self.least_margin = least_margin
        self.prefix = ""
        self.calls: Counter[str] = Counter()
        self.sessions: list[FaultySession] = []
        self.lateness = 0.2
        self.granted: float | None = None  # a ttl that renewals report in place of the real one
        self._faults: dict[str, tuple[Fault, int | None]] = {}
        self._healed = threading.Event()
        self._lock = threading.Lock()
        self._watches: dict[int, tuple[str, Callable[[Change], None], bool]] = {}
        self._number = itertools.count()

    # -- faults ------------------------------------------------------------------------------

    def inject(self, fault: Fault, *calls: str, times: int | None = None) -> None:
        """Let these calls fail; all of them if none is named, and for ever if no number is."""
        with self._lock:
            for call in calls or ("*",):
                self._faults[call] = (fault, times)
        if not calls:
            self._tell_watches(StoreUnavailable("cut off"))

    def heal(self) -> None:
        """Let everything work again, and what hangs go on."""
        with self._lock:
            self._faults.clear()
            healed, self._healed = self._healed, threading.Event()
        healed.set()
        if not self.inner._closed.is_set():
            self._tell_watches(None)

    def _tell_watches(self, error: StoreUnavailable | None) -> None:
        for key, on_change, tree in list(self._watches.values()):
            state: Change = self.inner.list(key) if tree else self.inner.get(key)
            on_change(error or state)

    def _next_fault(self, call: str) -> tuple[Fault | None, threading.Event]:
        with self._lock:
            self.calls[call] += 1
            name = call if call in self._faults else "*"
            fault, times = self._faults.get(name, (None, None))
            if times is not None:
                if times == 1:
                    del self._faults[name]
                elif fault is not None:
                    self._faults[name] = (fault, times - 1)
            return fault, self._healed

    def through(self, call: str, request: Callable[[], T]) -> T:
        """Make a request as the faults of the moment have it."""
        fault, healed = self._next_fault(call)
        match fault:
            case Fault.UNAVAILABLE:
                raise StoreUnavailable(f"{call}: cut off")
            case Fault.REFUSED:
                raise StoreRefused(f"{call}: permission denied")
            case Fault.REQUEST_LOST:
                healed.wait(remaining_budget())
                raise StoreUnavailable(f"{call}: no answer")
            case Fault.REPLY_LOST:
                request()
                raise StoreUnavailable(f"{call}: no answer")
            case Fault.LATE:
                timer = threading.Timer(self.lateness, lambda: _quietly(request))
                timer.daemon = True
                timer.start()
                raise StoreUnavailable(f"{call}: no answer")
            case Fault.HANGS:
                healed.wait()
            case Fault.CRASHES:
                raise RuntimeError(f"a mistake in {call}")
            case Fault.CRASHES_AFTER:
                request()
                raise RuntimeError(f"a mistake in {call}")
        return request()

    # -- the store ---------------------------------------------------------------------------

    def expires_within(self, ttl: float) -> float:
        return self.inner.expires_within(ttl)

    def get(self, key: str) -> Entry | None:
        return self.through("get", lambda: self.inner.get(key))

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        return self.through(
            "put" if session is None else "put_claim",
            lambda: self.inner.put(key, value, expect=expect, session=session, fence=fence),
        )

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        return self.through("delete", lambda: self.inner.delete(key, expect=expect))

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        number = next(self._number)

        def hear(change: Change) -> None:
            if "*" not in self._faults:
                on_change(change)

        inner = self.through("watch", lambda: self.inner.watch(key, hear, tree=tree))
        self._watches[number] = key, on_change, tree
        return _Watch(self, number, inner)

    def open_session(self, ttl: float) -> FaultySession:
        def request() -> FaultySession:
            session = FaultySession(self, self.inner.open_session(ttl))
            self.sessions.append(session)
            return session

        return self.through("open_session", request)

    def election(self, key: str) -> Election:
        return DefaultElection(self, key)

    def close(self) -> None:
        self.inner.close()

    # -- for tests ---------------------------------------------------------------------------

    def opened(self) -> StoreHandle:
        """Open it as a user does; the test closes it."""
        return StoreHandle(self, "faulty://test")

    def alive(self) -> list[FaultySession]:
        """The sessions that the store has not ended."""
        with self.inner.state._step():
            return [one for one in self.sessions if one.id in self.inner.state._sessions]

    def list(self, prefix: str) -> list[Entry]:
        return self.through("list", lambda: self.inner.list(prefix))


class _Watch:
    def __init__(self, store: FaultyStore, number: int, inner: Closable) -> None:
        self._store, self._number, self._inner = store, number, inner

    def close(self) -> None:
        self._store._watches.pop(self._number, None)
        self._inner.close()


def _quietly(request: Callable[[], T]) -> T | None:
    try:
        return request()
    except Exception:  # noqa: BLE001 - nobody waits for the answer
        return None


def eventually(condition: Callable[[], object], within: float = 5.0) -> bool:
    """Wait until the condition is true; False if it is not in time."""
    until = time.monotonic() + within
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.003)
    return True
