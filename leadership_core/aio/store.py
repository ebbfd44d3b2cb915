"""Store for programs on asyncio: the requests are made in threads of the store, and awaited."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Iterable, Set as AbstractSet
from types import TracebackType
from typing import Self
from weakref import WeakSet, finalize

from .. import store, term
from ..backend.entries import ANY, Change, Entry, Expected
from ..backend.fence import Fence
from ..backend.protocols import Capability, Leader
from ..backend.threads import start_daemon
from ..backend.time_source import TimeSource
from ..backend.url import StoreURL
from ..backend.validation import check_timeout
from ..engine.open_store import OpenStore
from ..engine.store_base import internals
from ..errors import ConfigurationError, NotApplied
from .lock import Lock
from .requests import Requests, in_thread
from .session import Session
from .term_work import leave_work
from .watch import Watch

__all__ = ["Store", "open_store", "opened_by"]

_CLOSER = "leadership-aio-close"


def open_store(
    url: str | StoreURL,
    *,
    require: Iterable[str] = (),
    clock: TimeSource | None = None,
    **options: object,
) -> Store:
    """Open the store at a URL. Sends no request, and does not block: it is not awaited.

    Args:
        url: `scheme[+tls]://[user[:password]@]host[:port][,host...][/prefix][?option=value]`.
        require: capabilities that the store must have, see `Capability`.
        clock: for tests, a `leadership_core.testing.VirtualClock`; `memory://` alone takes one.
        options: as in the query of the URL, which they override; None removes one.

    Raises:
        ConfigurationError: the URL or an option is wrong, a required capability is missing, or the
            store takes no clock.
        MissingPlugin: no installed plugin serves the scheme; the message says what to install.
        PluginError: the plugin that serves it is broken.

    Example:
        >>> async with open_store("memory://", require=["fenced_writes"]) as store:
        ...     entry = await store.put("service/config", b"1")
        ...     print(entry.value)
        b'1'
    """
    return Store(store.open_store(url, require=require, clock=clock, **options))


class Store:
    """An open store: key-value requests, watches, sessions and locks, for coroutines.

    As `leadership_core.Store`: the same names and meanings. Each request is made in a thread, of
    eight that belong to this store, and takes five seconds at most, the wait for a thread included.

    **Cancelled requests.** A task that is cancelled does not wait for the answer. A request that has
    not been sent by then is not sent. One that is under way goes on, and its outcome is
    unknown, as after a `StoreUnavailable`: a `put` or `delete` may take effect up to five seconds
    later, even after a later request of the same task. Where that matters, pass `expect=` or
    `fence=`, or let the request finish with `asyncio.shield`.

    As an asynchronous context manager it is closed at the end, with its candidates and followers. All
    methods may be called in any event loop, of any thread.

    Args:
        blocking: the store as threads use it, from `leadership_core.open_store`; both may be used
            at the same time, and each closes the other.

    Example:
        >>> async with open_store("memory://") as store:
        ...     entry = await store.put("service/config", b"1")
        ...     entry = await store.put("service/config", b"2", expect=entry)
        ...     print([(each.key, each.value) for each in await store.list("service")])
        [('service/config', b'2')]
    """

    def __init__(self, blocking: store.Store) -> None:
        self._opened: OpenStore = internals(blocking)
        self._blocking = blocking
        self._requests = Requests(self._opened)
        self._watches: WeakSet[Watch] = WeakSet()
        finalize(self, self._requests.drop).atexit = False

    @property
    def blocking(self) -> store.Store:
        """The same store for threads, whose methods block."""
        return self._blocking

    @property
    def url(self) -> str:
        """The URL that it was opened with, all secrets masked."""
        return self._blocking.url

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        """The optional features of this store, see `Capability`."""
        return self._blocking.capabilities

    # -- entries ---------------------------------------------------------------------------

    async def get(self, key: str) -> Entry | None:
        """Read the key, linearizably; None if it does not exist.

        Raises:
            StoreUnavailable: no answer in time.
        """
        return await self._requests.call(self._blocking.get, key)

    async def exists(self, key: str) -> bool:
        """Whether an entry is at the key, or its election has a leader; linearizable.

        Raises:
            StoreUnavailable: no answer in time.
        """
        return await self._requests.call(self._blocking.exists, key)

    async def list(self, prefix: str) -> builtins.list[Entry]:
        """Read all entries whose keys begin with `prefix/`; "" lists all entries of the store.

        Raises:
            StoreUnavailable: no answer in time.
        """
        return await self._requests.call(self._blocking.list, prefix)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: term.Term | Fence | str | None = None,
    ) -> Entry:
        """Write the key in one atomic step, and return the entry as it is then.

        If the task is cancelled, the entry may be written nevertheless, or be written later: see `Store`.

        Args:
            key: the key to write.
            value: the bytes to store there.
            expect: an `Entry` that must be there unchanged, `ABSENT`, or `ANY`.
            session: a session from `open_session` to bind the entry to.
            fence: a `Term`, its `fence`, or the text of that: the store refuses the write, in the
                same atomic step, unless the claim of that term still leads.

        Raises:
            Conflict: the present entry is not the expected one.
            Fenced: the term is over.
            SessionLost: the session has ended.
            ConfigurationError: an argument is wrong, or the store lacks the capability
                `FENCED_WRITES` or `SESSIONS` that it needs.
            StoreUnavailable: no answer in time; it may have been written, unless the error is a
                `NotApplied`.

        Example:
            >>> async with store.lock("jobs/17", ttl=10) as term:
            ...     entry = await store.put("jobs/17/state", b"done", fence=term)
        """
        if session is not None and not isinstance(session, Session):
            raise ConfigurationError(
                f"the session must come from open_session(), not {type(session).__name__}"
            )
        bound = None if session is None else session.blocking
        return await self._requests.call(
            self._blocking.put, key, value, expect=expect, session=bound, fence=fence
        )

    async def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        """Delete the key; False if it did not exist.

        Args:
            key: the key to delete.
            expect: an `Entry` that must be there unchanged, or `ANY`.

        Raises:
            Conflict: the present entry is not the expected one.
            StoreUnavailable: no answer in time; it may have been deleted.
        """
        return await self._requests.call(self._blocking.delete, key, expect=expect)

    async def delete_tree(self, prefix: str) -> int:
        """Delete what `list(prefix)` lists; returns the number of entries.

        The key `prefix` itself is kept. Elections below it lose their leaders.

        Raises:
            ConfigurationError: the prefix is empty, and so is that of the store's URL.
            StoreUnavailable: no answer in time; some entries, or all, may have been deleted.
        """
        return await self._requests.call(self._blocking.delete_tree, prefix)

    # -- watches and sessions --------------------------------------------------------------

    def watch(
        self,
        key: str,
        on_change: Callable[[Change], Awaitable[object] | object] | None = None,
        *,
        tree: bool = False,
    ) -> Watch:
        """Watch a key: the present state, then each latest state, until closed.

        The states are the values of an asynchronous iterator. Or, with `on_change`, they are passed to
        that function or coroutine function, in this event loop, one call at a time; the watch is
        opened by awaiting it then. States that are replaced before they are delivered are skipped.

        Args:
            key: the key to watch; with `tree`, the prefix.
            on_change: called with the `Entry` or None, with `tree` with the list of entries, and
                with a `StoreUnavailable` when the store becomes unreachable.
            tree: watch what is below the key, as `watch_tree` does.

        Raises:
            ConfigurationError: `on_change` cannot be called with a change.
            StoreClosed: the store is closed.

        Example:
            >>> async for change in store.watch("service/config"):
            ...     print(change)
            ...     break
            None
        """
        self._opened.guard()
        watch = Watch(
            self._requests,
            lambda report: self._blocking.watch(key, report, tree=tree),
            on_change,
        )
        self._watches.add(watch)
        return watch

    def watch_tree(
        self, prefix: str, on_change: Callable[[Change], Awaitable[object] | object] | None = None
    ) -> Watch:
        """Watch what `list(prefix)` lists, now and after changes; see `watch`."""
        return self.watch(prefix, on_change, tree=True)

    async def open_session(self, ttl: float) -> Session:
        """Open a session, which ends `ttl` seconds after its last renewal; the caller renews it.

        Raises:
            ConfigurationError: the store refuses the ttl.
            StoreUnavailable: no answer in time.
        """
        session = await self._requests.call(self._blocking.open_session, ttl)
        return Session(session, self._requests)

    # -- elections and locks ---------------------------------------------------------------

    def lock(
        self, key: str, value: str = "", *, ttl: float = 15.0, margin: float | None = None
    ) -> Lock:
        """Return a lock on the key, not yet acquired. Sends no request, and does not block.

        Args:
            key: the key of the lock; candidates of the same key compete with it.
            value: what followers see of the holder.
            ttl: seconds after which the lock of a holder that has died is free, at the earliest.
            margin: seconds, as for `Candidate`.

        Raises:
            ConfigurationError: the key, the value, the ttl or the margin is invalid.

        Example:
            >>> async with store.lock("jobs/17", "worker-3", ttl=10) as term:
            ...     entry = await store.put("jobs/17/state", b"done", fence=term)
        """
        return Lock(self._opened, key, value, ttl=ttl, margin=margin)

    async def leader(self, key: str) -> Leader | None:
        """Read the leader of the election, linearizably; None if there is none.

        Raises:
            StoreUnavailable: no answer in time.
        """
        return await self._requests.call(self._blocking.leader, key)

    def expires_within(self, ttl: float) -> float:
        """Seconds after its last renewal by which a silent leader's claim has expired."""
        return self._blocking.expires_within(ttl)

    # -- the end ---------------------------------------------------------------------------

    async def close(self, timeout: float | None = None) -> bool:
        """Stop the candidates and followers of this store, release everything, and close it.

        May be called repeatedly, and in any task. Blocks of `leading` and of locks, and work of `lead`,
        in other tasks are cancelled and waited for. Inside the work of `lead`, or in a block of
        `working`, it does not wait. If it is cancelled, the store goes on to close in the background.

        Args:
            timeout: seconds for all of it; None means five. What the store has not confirmed by
                then is left to expire.

        Returns:
            Whether the store has confirmed that everything is released.

        Raises:
            ConfigurationError: the timeout is not a number of seconds, 0 or more.
        """
        if self._opened.forked:
            return True
        check_timeout(timeout)
        works_here = leave_work(self._opened)

        def close() -> bool:
            try:
                return self._blocking.close(timeout)
            finally:
                self._requests.close()

        for watch in list(self._watches):
            watch.end()
        try:
            if works_here:  # the work has to return first
                start_daemon(close, _CLOSER)
                return False
            return await in_thread(close, _CLOSER)
        except NotApplied:  # no thread can be started: the interpreter is ending
            return close()

    async def __aenter__(self) -> Self:
        self._opened.guard()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, GeneratorExit):  # the loop has ended before the task
            self._opened.begin_close()
        else:
            await self.close()

    def __repr__(self) -> str:
        return f"<aio store {self.url}>"


def opened_by(store: Store) -> OpenStore:
    """Return the open store behind the user's.

    Raises:
        ConfigurationError: it is not what `leadership_core.aio.open_store` returns.
    """
    if not isinstance(store, Store):
        raise ConfigurationError(
            f"the store must come from leadership_core.aio.open_store(), not {type(store).__name__}"
        )
    return internals(store.blocking)
