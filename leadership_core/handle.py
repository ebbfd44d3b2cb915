"""The store that users hold: a plugin's store with its keys, its engine and its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Set as AbstractSet
from types import TracebackType
from typing import TYPE_CHECKING, Self

from . import lifetimes
from .engine import Engine
from .errors import ConfigurationError, ForkedStore, StoreClosed
from .keys import join, normalise
from .registry import open_backend
from .store import (
    ANY,
    Capability,
    Change,
    Closable,
    Election,
    Entry,
    Expected,
    Leader,
    Session,
    Store,
)
from .term import parse_fence
from .url import StoreURL

if TYPE_CHECKING:
    from .term import Term

__all__ = ["StoreHandle", "open_store"]


def open_store(
    url: str | StoreURL, *, require: Iterable[str] = (), **options: object
) -> StoreHandle:
    """Open the store at a URL. Contacts nobody.

    Args:
        url: `scheme[+tls]://[user[:password]@]host[:port][,host...][/prefix][?option=value]`.
        require: capabilities that the store must have, see `Capability`.
        options: as in the query of the URL; these win. None takes one away.

    Raises:
        ConfigurationError: the URL or an option is wrong, or a capability is lacking.
        MissingPlugin: no installed plugin serves the scheme; says what to install.
        PluginError: the plugin that does is broken.
    """
    parsed = StoreURL.parse(url).with_options(**options)
    return StoreHandle(open_backend(parsed, require), str(parsed))


class StoreHandle:
    """An open store.

    All methods may be called from any thread, and block for five seconds at most. Used as a context manager it is closed at the end, with its candidates and followers. In a
    forked child it is inert: `with` does nothing there, and any call raises `ForkedStore`.

    Args:
        backend: what a plugin implements.
        url: where it is, with all secrets masked.
    """

    def __init__(self, backend: Store, url: str) -> None:
        self.url = url
        self._backend = backend
        self._engine = Engine(backend)
        self._prefix = self._engine.prefix
        self._closed = False
        lifetimes.register(self)

    # -- key and value ---------------------------------------------------------------------

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        """What this store can do beyond the least."""
        return self._engine.capabilities

    def get(self, key: str) -> Entry | None:
        """Read the key, linearizably; None if it is not there."""
        entry = self._open().get(self.full_key(key))
        return None if entry is None else self._mine(entry)

    def list(self, prefix: str) -> list[Entry]:
        """Read what is below `prefix`: the keys that begin with `prefix/`."""
        return [self._mine(entry) for entry in self._open().list(self.full_key(prefix))]

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Term | str | None = None,
    ) -> Entry:
        """Write the key.

        Args:
            key: where.
            value: what.
            expect: an `Entry` that must be there unchanged, or `ABSENT`, or `ANY`.
            session: one from `open_session`; the entry goes when it goes.
            fence: a `Term` or its `fence`: in the same atomic step the store refuses the write
                unless that term's claim still stands.

        Raises:
            Conflict: what is there is not what was expected.
            Fenced: the term is over.
            ConfigurationError: the store has no `FENCED_WRITES`.
            StoreUnavailable: no answer; it may have been written.
        """
        if fence is not None and Capability.FENCED_WRITES not in self.capabilities:
            raise ConfigurationError(f"{self.url} has no fenced writes")
        if not isinstance(value, bytes | bytearray | memoryview):
            raise ConfigurationError(f"a value is bytes, not {type(value).__name__}")
        claim = None if fence is None else self._fence(fence)
        backend, full = self._open(), self.full_key(key)
        return self._mine(
            backend.put(full, value, expect=self._theirs(expect), session=session, fence=claim)
        )

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        """Delete the key; False if it was not there.

        Raises:
            Conflict: what is there is not what was expected.
            StoreUnavailable: no answer; it may have been deleted.
        """
        return self._open().delete(self.full_key(key), expect=self._theirs(expect))

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        """Call `on_change` with the state of now, then with every last state, until closed.

        Args:
            key: which; with `tree`, all that is below it.
            on_change: gets the `Entry` or None, a list of entries with `tree`, or a
                `StoreUnavailable` for as long as the store is away. Called from any thread; it
                must not block.
            tree: whether to watch what is below the key.
        """

        def report(change: Change) -> None:
            match change:
                case Entry():
                    on_change(self._mine(change))
                case [*entries]:
                    on_change([self._mine(entry) for entry in entries])
                case _:
                    on_change(change)

        return self._open().watch(self.full_key(key), report, tree=tree)

    def open_session(self, ttl: float) -> Session:
        """Open a session, which ends `ttl` seconds after its last renewal; renewing is yours."""
        return self._open().open_session(ttl)

    def election(self, key: str) -> Election:
        """The store's own race for the key, as the engine uses it."""
        self.guard()
        return self._engine.election(self.full_key(key))

    def leader(self, key: str) -> Leader | None:
        """Read who leads the election of this key, linearizably."""
        return self.election(key).leader()

    def expires_within(self, ttl: float) -> float:
        """Seconds after its last renewal by which a silent leader's claim is gone."""
        return self._engine.expires_within(ttl)

    # -- the end ---------------------------------------------------------------------------

    def begin_close(self) -> None:
        """Let its candidates and followers start to leave; waits for nothing."""
        if not self.forked:
            self._engine.begin_close()

    def close(self, timeout: float = 5.0) -> bool:
        """Stop the candidates and followers of this store, release all, and close it.

        Args:
            timeout: seconds for all of it. What the store has not confirmed by then is left
                to end with its ttl.

        Returns:
            Whether the store has confirmed everything. Calling it again does nothing.
        """
        if self.forked or self._closed:
            return True
        self._closed = True
        try:
            return self._engine.close(timeout)
        finally:
            lifetimes.unregister(self)  # a fork until then must find it

    def __enter__(self) -> Self:
        self.guard()
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

    # -- for candidates and followers ------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The threads and timers of this store, for `Candidate` and `Follower`."""
        self.guard()
        return self._engine

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that opened the store."""
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

    def normalise(self, key: str) -> str:
        """The key as this library writes it; raises `InvalidKey`."""
        return normalise(key, self._prefix)

    def full_key(self, key: str) -> str:
        """The key as the store sees it; raises `InvalidKey`."""
        return join(self._prefix, self.normalise(key))

    def end_in_child(self) -> None:
        """Make it inert: this process is a forked child."""
        self._engine.end_in_child()

    def _open(self) -> Store:
        self.guard()
        return self._backend

    def _fence(self, fence: Term | str) -> tuple[str, int]:
        key, token = parse_fence(fence)
        return self.full_key(key), token

    def _mine(self, entry: Entry) -> Entry:
        if not self._prefix:
            return entry
        short = entry.key.removeprefix(f"{self._prefix}/")
        return Entry(short, entry.value, entry.revision, entry.session)

    def _theirs(self, expect: Expected) -> Expected:
        if isinstance(expect, Entry) and self._prefix:
            full = join(self._prefix, expect.key)
            return Entry(full, expect.value, expect.revision, expect.session)
        return expect
