"""Store: an open key-value store, and the function that opens it by its URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set as AbstractSet
from types import TracebackType
from typing import TYPE_CHECKING, Self

from . import engine
from .backend.deadline import DEFAULT_TIMEOUT, call_timeout
from .backend.expectations import ANY
from .backend.tracebacks import bare
from .backend.validation import check_callback, check_session, check_ttl, check_value
from .engine.store_base import StoreBase
from .errors import ConfigurationError, URLError
from .lock import Lock
from .term import Term

if TYPE_CHECKING:
    from .backend.entries import Change, Entry, Expected
    from .backend.fence import Fence
    from .backend.protocols import Capability, Closable, Election, Leader, Session, StoreBackend
    from .backend.time_source import TimeSource
    from .backend.url import StoreURL

__all__ = ["Store", "open_store"]


def open_store(
    url: str | StoreURL,
    *,
    require: Iterable[str] = (),
    clock: TimeSource | None = None,
    **options: object,
) -> Store:
    """Open the store at a URL. Sends no request, and does not block.

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
        >>> with open_store("memory://", require=["fenced_writes"]) as store:
        ...     store.put("service/config", b"1").value
        b'1'
    """
    from .backend.url import StoreURL
    from .registry import open_backend  # only here: it imports much, among it pluggy

    parsed: StoreURL | URLError
    try:
        parsed = StoreURL.parse(url).with_options(**options)
    except URLError as error:
        parsed = bare(error)
    del url, options  # a traceback with variables would show their secrets
    if isinstance(parsed, URLError):
        raise parsed
    return Store(open_backend(parsed, require, clock), str(parsed))


class Store(StoreBase):
    """An open store: key-value requests, watches, sessions and locks.

    Candidates and followers are created on it. Each request blocks for five seconds at most. As a
    context manager it is closed at the end, with its candidates and followers. All methods may be
    called from any thread. In a forked child it is inert: `with` does nothing there, and every
    call raises `ForkedStore`.

    A store that is dropped without being closed is closed when it is garbage collected, with a
    `ResourceWarning`. Running candidates and followers and open watches keep it.

    Args:
        backend: the store as a plugin implements it.
        url: its URL with all secrets masked.

    Example:
        >>> with open_store("memory://") as store:
        ...     entry = store.put("service/config", b"1")
        ...     entry = store.put("service/config", b"2", expect=entry)
        ...     [(each.key, each.value) for each in store.list("service")]
        [('service/config', b'2')]
    """

    def __init__(self, backend: StoreBackend, url: str) -> None:
        engine.load()
        super().__init__(engine.OpenStore(backend, url))
        engine.close_at_exit()

    @property
    def url(self) -> str:
        """The URL that it was opened with, all secrets masked."""
        return self._opened.url

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        """The optional features of this store, see `Capability`."""
        return self._opened.capabilities

    # -- entries ---------------------------------------------------------------------------

    def get(self, key: str) -> Entry | None:
        """Read the key, linearizably; None if it does not exist.

        Raises:
            StoreUnavailable: no answer in time.
        """
        opened = self._opened
        entry = opened.call("get", key, opened.backend.get, opened.namespace.full(key))
        return None if entry is None else opened.namespace.strip_prefix(entry)

    def exists(self, key: str) -> bool:
        """Whether an entry is at the key, or its election has a leader; linearizable.

        So for a lock it is true as long as the lock is held, on every store, and false afterwards.

        Raises:
            StoreUnavailable: no answer in time.
        """
        from .backend.default_election import exists  # loaded with the engine

        opened = self._opened
        backend = opened.backend
        full = opened.namespace.full(key)
        return opened.call("exists", key, exists, backend, full, opened.engine.election)

    def list(self, prefix: str) -> list[Entry]:
        """Read all entries whose keys begin with `prefix/`; "" lists all entries of the store.

        Raises:
            StoreUnavailable: no answer in time.
        """
        opened = self._opened
        entries = opened.call("list", prefix, opened.backend.list, opened.namespace.subtree(prefix))
        return opened.namespace.strip_prefixes(entries)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Term | Fence | str | None = None,
    ) -> Entry:
        """Write the key in one atomic step, and return the entry as it is then.

        Args:
            key: the key to write.
            value: the bytes to store there.
            expect: an `Entry` that must be there unchanged, `ABSENT`, or `ANY`.
            session: a session from `open_session` to bind the entry to: it is deleted when the
                session ends. Without one, an entry that was bound to a session is bound to none.
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
            >>> with store.lock("jobs/17", ttl=10) as term:
            ...     store.put("jobs/17/state", b"done", fence=term).value
            b'done'
        """
        from .backend.protocols import Capability  # loaded with the engine

        opened = self._opened
        opened.guard()
        plain = check_value(value)
        if session is not None:
            check_session(session)
            opened.require(Capability.SESSIONS, "entries that are bound to a session")
        guard = None
        if fence is not None:
            opened.require(Capability.FENCED_WRITES, "fenced writes")
            guard = opened.namespace.fence(fence.fence if isinstance(fence, Term) else fence)
        full, expected = opened.namespace.full(key), opened.namespace.expected(key, expect)
        operation = "put" if guard is None else "fenced_put"
        put = opened.backend.put
        entry = opened.call(
            operation, key, put, full, plain, expect=expected, session=session, fence=guard
        )
        return opened.namespace.strip_prefix(entry)

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        """Delete the key; False if it did not exist.

        Args:
            key: the key to delete.
            expect: an `Entry` that must be there unchanged, or `ANY`.

        Raises:
            Conflict: the present entry is not the expected one.
            StoreUnavailable: no answer in time; it may have been deleted.
        """
        opened = self._opened
        backend = opened.backend
        full, expected = opened.namespace.full(key), opened.namespace.expected(key, expect)
        return opened.call("delete", key, backend.delete, full, expect=expected)

    def delete_tree(self, prefix: str) -> int:
        """Delete what `list(prefix)` lists; returns the number of entries.

        The key `prefix` itself is kept. Elections below it lose their leaders. Most stores delete
        in one step; the others delete one by one, and keep what is written meanwhile.

        Raises:
            ConfigurationError: the prefix is empty, and so is that of the store's URL.
            StoreUnavailable: no answer in time; some entries, or all, may have been deleted.
        """
        from .backend.capabilities import delete_tree  # loaded with the engine

        opened = self._opened
        backend, full = opened.backend, opened.namespace.subtree(prefix)
        if not full:
            raise ConfigurationError(
                f"refusing to delete every key in {self.url}, of other programs, too: "
                "pass a non-empty prefix"
            )
        with call_timeout(DEFAULT_TIMEOUT):
            return opened.call("delete_tree", prefix, delete_tree, backend, full)

    # -- watches and sessions --------------------------------------------------------------

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        """Call `on_change` with the present state, then with each latest state, until closed.

        States that are replaced before they are delivered are skipped.

        Args:
            key: the key to watch; with `tree`, the prefix.
            on_change: called with the `Entry` or None, with `tree` with the list of entries, and
                with a `StoreUnavailable` when the store becomes unreachable. It is called from any
                thread, one call at a time, and must not block.
            tree: watch what is below the key, as `watch_tree` does.

        Raises:
            ConfigurationError: `on_change` cannot be called with a change.
        """
        opened = self._opened
        opened.guard()
        check_callback("on_change", on_change, "change")
        full = opened.namespace.subtree(key) if tree else opened.namespace.full(key)
        report = opened.observed_watch(full, opened.namespace.reporter(on_change))
        watch = opened.call("watch", key, opened.backend.watch, full, report, tree=tree)
        return opened.keep_alive(watch)

    def watch_tree(self, prefix: str, on_change: Callable[[Change], None]) -> Closable:
        """Call `on_change` with what `list(prefix)` lists, now and after changes; see `watch`."""
        return self.watch(prefix, on_change, tree=True)

    def open_session(self, ttl: float) -> Session:
        """Open a session, which ends `ttl` seconds after its last renewal; the caller renews it.

        Raises:
            ConfigurationError: the store refuses the ttl.
            StoreUnavailable: no answer in time.
        """
        opened = self._opened
        begin = opened.backend.open_session
        return opened.keep_alive(opened.call("open_session", None, begin, check_ttl(ttl)))

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
            >>> with store.lock("jobs/17", "worker-3", ttl=10) as term:
            ...     store.put("jobs/17/state", b"done", fence=term).value
            b'done'
        """
        return Lock(self, key, value, ttl=ttl, margin=margin)

    def election(self, key: str) -> Election:
        """The store's own election of the key, as the engine uses it. Sends no request."""
        return self._opened.election(key)

    def leader(self, key: str) -> Leader | None:
        """Read the leader of the election, linearizably; None if there is none.

        Raises:
            StoreUnavailable: no answer in time.
        """
        return self._opened.call("leader", key, self.election(key).leader)

    def expires_within(self, ttl: float) -> float:
        """Seconds after its last renewal by which a silent leader's claim has expired."""
        return self._opened.expires_within(ttl)

    # -- the end ---------------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> bool:
        """Stop the candidates and followers of this store, release everything, and close it.

        May be called repeatedly, and from any thread: each call waits for the first one, within its
        own timeout, and returns the same. A signal handler that interrupts the first call does not
        wait. Nor does one that has interrupted the work of `lead` or a request to this store: it
        gets False at once, and the store is closed when what was interrupted has ended.

        Args:
            timeout: seconds for all of it; None means five. What the store has not confirmed by
                then is left to expire.

        Returns:
            Whether the store has confirmed that everything is released.

        Raises:
            ConfigurationError: the timeout is not a number of seconds, 0 or more.
        """
        return self._opened.close(timeout)

    def __enter__(self) -> Self:
        self._opened.guard()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<store {self.url}>"
