"""An open store behind the user's `Store`: its backend, its namespace, its engine, and its end."""

from __future__ import annotations

import _thread
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Set as AbstractSet
from contextlib import suppress
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar
from weakref import WeakSet, finalize

from ..backend import clock
from ..backend.entries import Change
from ..backend.event_count import Flag
from ..backend.observation import hub
from ..backend.protocols import Capability, Election, StoreBackend
from ..backend.threads import start_daemon
from ..backend.validation import check_timeout
from ..errors import ConfigurationError, ForkedStore, NotApplied, StoreClosed, StoreUnavailable
from .deferred_exit import uninterrupted
from .engine import Engine
from .instrumentation import ObservedStore, WatchObservation, observed_request
from .namespace import Namespace
from .reentrancy import interrupts, run_uninterruptible

if TYPE_CHECKING:
    from ..backend.records import Record

__all__ = ["OpenStore", "open_stores"]

log: logging.Logger = logging.getLogger("leadership.engine")

P = ParamSpec("P")
T = TypeVar("T")

_CLOSE_SECONDS = 5.0

open_stores: Final[WeakSet[OpenStore]] = WeakSet()
"""The stores to close at the exit of the process, and to make inert in forked children."""


class OpenStore:
    """One open backend with the engine that runs on it; thread-safe.

    It is closed when it is collected, with a `ResourceWarning`. The user's `Store`, its candidates,
    followers and locks refer to it, and so do open watches and sessions: see `keep_alive`.

    Attributes:
        url: the URL with all secrets masked.
        namespace: the keys below the URL's prefix.
    """

    def __init__(self, backend: StoreBackend, url: str) -> None:
        self.url = url
        self._backend = backend
        self._engine = Engine(backend, url)
        self.namespace: Namespace = Namespace(self._engine.prefix)
        self._closed = False
        self._unclosed: list[None] = [None]  # the one call that takes it out closes the store
        self._closer: int | None = None  # the thread of that call
        self._close_ended = Flag()
        self._close_later = False  # where `close` was called, it could not wait
        self._released = False
        self._finalizer = finalize(self, _close_collected, self._engine, url)
        self._finalizer.atexit = False  # `process_hooks` closes it then
        open_stores.add(self)

    # -- guards ----------------------------------------------------------------------------

    @property
    def forked(self) -> bool:
        """Whether this process is a forked child of the one that opened the store."""
        return self._engine.forked

    def fork_guard(self) -> None:
        """Raise `ForkedStore` in a forked child."""
        if self._engine.forked:
            raise ForkedStore(
                f"{self.url} belongs to the parent of process {os.getpid()}: "
                "a forked child needs a store that it opens itself"
            )

    def guard(self) -> None:
        """Raise `ForkedStore` in a forked child, and `StoreClosed` after `close`."""
        self.fork_guard()
        if self._closed:
            raise StoreClosed(f"{self.url} is closed")

    @property
    def closing(self) -> bool:
        """Whether it is closed, or its candidates and followers are being stopped."""
        return self._closed or self._engine.closing

    @property
    def backend(self) -> StoreBackend:
        """The store as the plugin implements it; raises `ForkedStore` and `StoreClosed`."""
        self.guard()
        return self._backend

    @property
    def engine(self) -> Engine:
        """Its threads and timers; raises `ForkedStore` and `StoreClosed`."""
        self.guard()
        return self._engine

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        """The optional features of the backend."""
        return self._engine.capabilities

    def expires_within(self, ttl: float) -> float:
        """Seconds after its last renewal by which a silent session of that ttl has ended."""
        return self._engine.expires_within(ttl)

    # -- requests --------------------------------------------------------------------------

    @property
    def observed(self) -> ObservedStore:
        """The store as observers see it."""
        return self._engine.context.store

    def call(
        self,
        operation: str,
        key: str | None,
        request: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Make a request of the user's to the backend, and report it to observers.

        Args:
            operation: its name, for observers.
            key: as users see it, for observers; None if it has none.
            request: what to call.
            args: for that.
            kwargs: for that.

        Raises:
            NotApplied: it comes from a signal handler that has interrupted another one.
        """
        if interrupts(self._engine):
            raise NotApplied(
                f"a signal handler has interrupted a request of this thread to {self.url}: "
                "make this one after the handler has returned"
            )
        try:
            if hub.active:
                return observed_request(
                    *(self.observed, operation, key),
                    lambda: run_uninterruptible(self._engine, request, *args, **kwargs),
                    by_program=True,
                )
            return run_uninterruptible(self._engine, request, *args, **kwargs)
        finally:
            self.finish_close()

    def observed_watch(
        self, key: str, on_change: Callable[[Change], None]
    ) -> Callable[[Change], None]:
        """The callback of a user's watch, whose failures are noted for observers."""
        watched = WatchObservation(self.observed, key, "program")

        def report(change: Change) -> None:
            watched.note(failed=isinstance(change, StoreUnavailable))
            on_change(change)

        return report

    def require(self, capability: Capability, what: str) -> None:
        """Raise `ConfigurationError` unless the store has the capability.

        Args:
            capability: which.
            what: what it is needed for, for the message.
        """
        if capability not in self._engine.capabilities:
            raise ConfigurationError(f"{self.url} has no {what} ({capability.name})")

    def election(self, key: str) -> Election:
        """The store's own election of the key, which is normalised or not. Sends no request."""
        return self.engine.election(self.namespace.full(key))

    def keep_alive(self, thing: T) -> T:
        """Keep this store from being collected for as long as something of it is in use."""
        with suppress(AttributeError):  # a plugin's object with slots
            thing._leadership_store = self  # type: ignore[attr-defined]  # noqa: SLF001 - no class declares it
        return thing

    def present(self) -> Iterator[Record]:
        """Records of the present state, for an observer that is registered now."""
        return self._engine.present()

    # -- the end ---------------------------------------------------------------------------

    def begin_close(self) -> None:
        """Let its candidates and followers start to leave; does not wait."""
        if not self.forked:
            self._engine.begin_close()

    def has_left(self) -> bool:
        """Whether nothing of it is left at the store, once it has begun to close."""
        return self._engine.has_left()

    @uninterrupted
    def close(self, timeout: float | None) -> bool:
        """Stop the candidates and followers, and close; see `Store.close`."""
        longest = check_timeout(timeout)
        return self.close_by(clock.now() + (_CLOSE_SECONDS if longest is None else longest))

    def close_by(self, until: float) -> bool:
        """Close it as `close` does, until a time of the clock."""
        if self.forked:
            return True
        self._closed = True
        if self._engine.is_held_up_here():
            # A signal handler has interrupted what must end first, and does so when this returns.
            self._close_later = True
            self._engine.begin_close()
            return False
        self._close_later = False
        this_thread = threading.get_ident()
        try:
            self._unclosed.pop()
        except IndexError:  # another call is closing it, or has closed it
            if self._closer != this_thread:
                self._close_ended.wait(max(0.0, until - clock.now()))
            return self._released
        self._closer = this_thread
        try:
            self._released = self._engine.close(until)
        except BaseException:  # an interrupt: the next call goes on with it
            self._unclosed.append(None)
            raise
        finally:
            self._closer = None
        open_stores.discard(self)  # not earlier: a fork until then must find it
        self._finalizer.detach()
        self._close_ended.set()
        return self._released

    def finish_close(self) -> None:
        """Close it if `close` was called where it could not wait; called where it can."""
        if self._close_later and not self._engine.is_held_up_here():
            self.close(None)

    def end_in_child(self) -> None:
        """Make it inert: this process is a forked child."""
        self._engine.end_in_child()


def _present() -> Iterator[Record]:
    for store in list(open_stores):
        yield from store.present()


hub.present = _present


def _close_collected(engine: Engine, url: str) -> None:
    # In the midst of a garbage collection: any thread may be here, with any lock held, also those
    # that `Thread.start` takes. So a bare thread comes first.
    if engine.forked:
        return

    def close() -> None:
        engine.close(clock.now() + _CLOSE_SECONDS)

    def start() -> None:
        try:
            start_daemon(close, "leadership-forgotten")
        except Exception:
            log.exception("store.close_failed")

    with suppress(RuntimeError):  # the process has no more threads, or is about to end
        _thread.start_new_thread(start, ())
    warnings.warn(
        f"unclosed store {url}: use it as a context manager, or call its close()",
        ResourceWarning,
        stacklevel=2,
    )
