"""Faults of the store for tests of programs: lost leases, outages, slow answers, other leaders."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

from ..backend.protocols import StoreBackend
from ..backend.url import StoreURL
from ..engine.store_base import internals
from ..store import Store, open_store
from ..stores import memory
from .fault_injection import Fault
from .faulty_store import FaultyStore
from .virtual_clock import VirtualClock

__all__ = ["OngoingFault", "OtherLeader", "StoreFaults"]

_FOREVER = 1e9  # seconds of a session that does not expire in a test
_END_SECONDS = 5.0  # of real time, for the threads of the store


class _HasKey(Protocol):
    @property
    def key(self) -> str: ...


class StoreFaults:
    """A `memory://` store on a virtual clock, and what can happen to it; a context manager.

    The pytest fixtures `leadership_faults`, `leadership_store` and `leadership_clock` are an object
    of this class, its store and its clock. Each method returns when candidates and followers have
    noticed: their events are delivered, and their callbacks have run.

    Args:
        clock: the clock; by default a new one.

    Attributes:
        clock: as given.
        store: an open store, for the program; it is closed at the end.
        url: of the store, for programs that open it themselves: `open_store(url)` joins the clock.

    Example:
        >>> with StoreFaults() as faults:
        ...     with Candidate(faults.store, "service/api", "node-1") as candidate:
        ...         term = candidate.wait_elected(timeout=5)
        ...         faults.lose_lease("service/api")
        ...         print(term.lost)
        True
    """

    store: Store

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock: VirtualClock = VirtualClock() if clock is None else clock
        self.url: str = f"memory://test-{uuid.uuid4().hex[:12]}"
        self._connections: list[FaultyStore] = []
        self._ongoing: list[OngoingFault] = []
        self._lock = threading.Lock()  # of both lists
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._threads = set(threading.enumerate())
        backend = memory.open_on(self.clock, StoreURL.parse(self.url))
        assert isinstance(backend, memory.MemoryStore)
        self._backend = backend
        self._state = backend.state
        self._state.wrap = self._connect
        self._stack.callback(self._await_threads)
        self._stack.callback(backend.close)
        self.store = self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._ongoing.clear()
        self._apply()
        self._stack.close()

    def open(self) -> Store:
        """Open one more connection, as another process would; it is closed at the end."""
        return self._stack.enter_context(open_store(self.url, clock=self.clock))

    # -- faults ------------------------------------------------------------------------------

    def lose_lease(self, holder: str | _HasKey) -> None:
        """Let the store end the session of the present leader, or of the holder of a lock.

        Its candidate campaigns again; `elect_other` lets another one lead instead.

        Args:
            holder: the key, or something with it: a `Candidate`, a `Lock`, a `Term`.

        Raises:
            LookupError: there is no leader.
        """
        key = self._full(holder)
        entry = self._backend.get(key)
        if entry is None or entry.session is None:
            raise LookupError(f"{key} has no leader whose lease could be lost")
        self._state.close_session(str(entry.session))
        self.clock.advance()

    def lose_session(self, store: Store | None = None) -> None:
        """Let the store end all sessions, as an operator or a restored backup does.

        Args:
            store: the connection whose sessions end; by default all connections.
        """
        for connection in self._of(store):
            connection.end_session(None)
        self.clock.advance()

    def elect_other(self, key: str | _HasKey, value: str = "other") -> OtherLeader:
        """Let another program lead from now on; the session of the present leader ends.

        Args:
            key: the key, or something with it: a `Candidate`, a `Follower`, a `Lock`, a `Term`.
            value: what followers see.

        Returns:
            The other leader, which leads until its `resign`; a context manager.
        """
        full = self._full(key)
        session = self._backend.open_session(_FOREVER)
        entry = self._state.take_over(full, value.encode(), session.id)
        self.clock.advance()

        def resign() -> None:
            session.close()
            self.clock.advance()

        return OtherLeader(value, entry.revision, resign)

    def store_down(self, store: Store | None = None) -> OngoingFault:
        """Let all requests fail at once, until `store_up` or the end of a `with` block.

        A leader goes on to lead until its lease ends: let 15 s pass, or the ttl of your candidate.

        Args:
            store: the connection that is cut off; by default all. Only that of `open`, or of this
                object: a program that opens `url` itself is one of all.
        """
        return self._begin(Fault.UNAVAILABLE, 0.0, store)

    def slow(self, seconds: float, store: Store | None = None) -> OngoingFault:
        """Let each request take so long, until `store_up` or the end of a `with` block.

        The time is that of the clock. Where it is longer than the time limit of a request (five
        seconds for one of the program, less for the engine's own), the request takes effect,
        and the answer is lost. A request in the program's own thread lets that time pass.

        Args:
            seconds: of each request.
            store: as for `store_down`.
        """
        return self._begin(Fault.DELAYED, seconds, store)

    def store_up(self) -> None:
        """End all outages and delays; retries come with their time, so let some pass."""
        with self._lock:
            self._ongoing.clear()
        self._apply()

    # -- connections ---------------------------------------------------------------------------

    def _connect(self, backend: StoreBackend) -> StoreBackend:
        connection = FaultyStore(backend)
        with self._lock:
            self._connections.append(connection)
        self._apply_to(connection)
        return connection

    def _of(self, store: Store | None) -> list[FaultyStore]:
        with self._lock:
            connections = list(self._connections)
        if store is None:
            return connections
        backend = internals(store).backend
        found = [one for one in connections if one is backend]
        if not found:
            raise LookupError(f"{store!r} is not a connection to {self.url}")
        return found

    def _begin(self, fault: Fault, seconds: float, store: Store | None) -> OngoingFault:
        connections = None if store is None else self._of(store)
        ongoing = OngoingFault(fault, seconds, connections, self._end)
        with self._lock:
            self._ongoing.append(ongoing)
        self._apply()
        return ongoing

    def _end(self, ongoing: OngoingFault) -> None:
        with self._lock:
            if ongoing in self._ongoing:
                self._ongoing.remove(ongoing)
        self._apply()

    def _apply(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            self._apply_to(connection)
        self.clock.advance()

    def _apply_to(self, connection: FaultyStore) -> None:
        """Let the latest fault that concerns it be the one of this connection."""
        with self._lock:
            concerning = [one for one in self._ongoing if one.concerns(connection)]
        connection.heal()
        if concerning:
            connection.lateness = concerning[-1].seconds
            connection.inject(concerning[-1].fault)

    def _full(self, key: str | _HasKey) -> str:
        name = key if isinstance(key, str) else key.key
        return internals(self.store).namespace.full(name)

    def _await_threads(self) -> None:
        """Wait until the threads of the store have ended: none is left for the next test."""
        until = time.monotonic() + _END_SECONDS
        while (self.clock.busy or self._has_callbacks()) and time.monotonic() < until:
            time.sleep(0.0005)

    def _has_callbacks(self) -> bool:
        """Whether a thread of callbacks that has begun meanwhile has not ended; it does after `Stopped`."""
        begun = set(threading.enumerate()) - self._threads
        return any(one.name == "leadership-callbacks" for one in begun)


class OngoingFault:
    """A fault that goes on until its `end`; as a context manager until the end of the block.

    Args:
        fault: the kind.
        seconds: by which requests are delayed.
        connections: those that it concerns; None for all.
        end: called with this.
    """

    def __init__(
        self,
        fault: Fault,
        seconds: float,
        connections: list[FaultyStore] | None,
        end: Callable[[OngoingFault], None],
    ) -> None:
        self.fault: Fault = fault
        self.seconds: float = seconds
        self._connections = connections
        self._end = end

    def concerns(self, connection: FaultyStore) -> bool:
        """Whether it concerns that connection."""
        return self._connections is None or connection in self._connections

    def end(self) -> None:
        """End it; no effect after the first call."""
        self._end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()


class OtherLeader:
    """A leader of another program, which leads until it resigns; a context manager.

    Args:
        value: what followers see.
        token: the fencing token of its term.
        resign: ends the term.
    """

    def __init__(self, value: str, token: int, resign: Callable[[], None]) -> None:
        self.value: str = value
        self.token: int = token
        self._resign = resign

    def resign(self) -> None:
        """Let it stop leading; no effect after the first call."""
        self._resign()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.resign()
