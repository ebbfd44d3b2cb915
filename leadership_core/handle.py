"""The store that users hold: a plugin's store with its keys, its engine and its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Set as AbstractSet
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from . import clock, lifetimes
from .budget import DEFAULT_BUDGET, budget
from .callbacks import check_callback
from .engine import Engine
from .errors import ConfigurationError, ForkedStore, NotDone, StoreClosed, URLError
from .eventcount import Flag
from .guards import check_session, check_value
from .keyspace import Keyspace
from .lock import Lock
from .optional import delete_tree, exists
from .reentry import interrupts, run_uninterruptible
from .registry import open_backend
from .shutdown import uninterrupted
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
from .timing import check_timeout, check_ttl
from .tracebacks import bare
from .url import StoreURL

if TYPE_CHECKING:
    from .term import Term

__all__ = ["StoreHandle", "open_store"]

P = ParamSpec("P")
T = TypeVar("T")

_CLOSE_SECONDS = 5.0


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
    parsed = _parsed(url, options)
    del url, options  # a traceback with variables would show their secrets
    if isinstance(parsed, URLError):
        raise parsed
    return StoreHandle(open_backend(parsed, require), str(parsed))


def _parsed(url: str | StoreURL, options: dict[str, object]) -> StoreURL | URLError:
    try:
        return StoreURL.parse(url).with_options(**options)
    except URLError as error:
        return bare(error)


class StoreHandle:
    """An open store.

    All methods may be called from any thread, and block for five seconds at most. Used as a
    context manager it is closed at the end, with its candidates and followers. In a forked child
    it is inert: `with` does nothing there, and any call raises `ForkedStore`.

    A store that is dropped without being closed is closed when it is collected, with a
    `ResourceWarning`. Candidates and followers that run and watches that are open keep it.

    Args:
        backend: what a plugin implements.
        url: where it is, with all secrets masked.
    """

    def __init__(self, backend: Store, url: str) -> None:
        self.url = url
        self._backend = backend
        self._engine = Engine(backend)
        self._keys = Keyspace(self._engine.prefix)
        self._closed = False
        self._unclosed: list[None] = [None]  # the one call that takes it out closes the store
        self._closer: int | None = None  # the thread of that call
        self._close_ended = Flag()
        self._close_later = False  # where `close` was called, it could not wait
        self._released = False
        self._collected = lifetimes.close_when_collected(self, self._engine, url)
        lifetimes.register(self)

    # -- key and value ---------------------------------------------------------------------

    @property
    def capabilities(self) -> AbstractSet[Capability]:
        """What this store can do beyond the least."""
        return self._engine.capabilities

    def get(self, key: str) -> Entry | None:
        """Read the key, linearizably; None if it is not there."""
        entry = self._call(self._open().get, self._keys.full(key))
        return None if entry is None else self._keys.mine(entry)

    def exists(self, key: str) -> bool:
        """Say whether an entry is at the key, or somebody leads the election of it; linearizably.

        So for a lock it is true as long as the lock is held, on every store, and false afterwards.
        """
        return self._call(exists, self._open(), self._keys.full(key), self._engine.election)

    def list(self, prefix: str) -> list[Entry]:
        """Read what is below `prefix`, the keys that begin with `prefix/`; "" stands for all."""
        return self._keys.listed(self._call(self._open().list, self._keys.tree(prefix)))

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
            session: one from `open_session`; the entry goes when it goes. Without one, an entry
                that was bound to a session is bound to none any more.
            fence: a `Term` or its `fence`: in the same atomic step the store refuses the write
                unless that term's claim still stands.

        Raises:
            Conflict: what is there is not what was expected.
            Fenced: the term is over.
            SessionLost: the session is gone.
            ConfigurationError: the store has no `FENCED_WRITES`, or no `SESSIONS`.
            StoreUnavailable: no answer; it may have been written.
        """
        self._guard()
        plain = check_value(value)
        if session is not None:
            check_session(session)
            self._need(Capability.SESSIONS, "entries that go with a session")
        claim = None
        if fence is not None:
            self._need(Capability.FENCED_WRITES, "fenced writes")
            elected, token = parse_fence(fence)
            claim = self._keys.full(elected), token
        full, expected = self._keys.full(key), self._keys.expected(key, expect)
        return self._keys.mine(
            self._call(
                self._backend.put, full, plain, expect=expected, session=session, fence=claim
            )
        )

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        """Delete the key; False if it was not there.

        Raises:
            Conflict: what is there is not what was expected.
            StoreUnavailable: no answer; it may have been deleted.
        """
        full, expected = self._keys.full(key), self._keys.expected(key, expect)
        return self._call(self._open().delete, full, expect=expected)

    def delete_tree(self, prefix: str) -> int:
        """Delete what `list(prefix)` lists, and say how many entries that were.

        The key `prefix` itself stays. Elections below lose their leaders. Most stores do it in one
        step; another one deletes one by one, and what is written meanwhile may stay.

        Raises:
            ConfigurationError: the prefix is empty, and so is that of the store's URL.
            StoreUnavailable: no answer; some of it, or all, may have been deleted.
        """
        backend, full = self._open(), self._keys.tree(prefix)
        if not full:
            raise ConfigurationError(
                f"this would delete all that {self.url} holds, of other programs, too: name a prefix"
            )
        with budget(DEFAULT_BUDGET):
            return self._call(delete_tree, backend, full)

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        """Call `on_change` with the state of now, then with every last state, until closed.

        Args:
            key: which; with `tree`, all that is below it.
            on_change: gets the `Entry` or None, a list of entries with `tree`, or a
                `StoreUnavailable` for as long as the store is away. Called from any thread; it
                must not block.
            tree: whether to watch what is below the key, as `watch_tree` does.
        """
        self._guard()
        check_callback("on_change", on_change, "change")
        full = self._keys.tree(key) if tree else self._keys.full(key)
        report = self._keys.reporter(on_change)
        return self._kept_by(self._call(self._backend.watch, full, report, tree=tree))

    def watch_tree(self, prefix: str, on_change: Callable[[Change], None]) -> Closable:
        """Call `on_change` with what `list(prefix)` lists, now and after changes; see `watch`."""
        return self.watch(prefix, on_change, tree=True)

    def open_session(self, ttl: float) -> Session:
        """Open a session, which ends `ttl` seconds after its last renewal; renewing is yours."""
        return self._kept_by(self._call(self._open().open_session, check_ttl(ttl)))

    def lock(
        self, key: str, value: str = "", *, ttl: float = 15.0, margin: float | None = None
    ) -> Lock:
        """Return a lock on the key, not yet acquired; see `Lock`. Contacts nobody."""
        return Lock(self, key, value, ttl=ttl, margin=margin)

    def election(self, key: str) -> Election:
        """The store's own race for the key, as the engine uses it."""
        self._guard()
        return self._engine.election(self._keys.full(key))

    def leader(self, key: str) -> Leader | None:
        """Read who leads the election of this key, linearizably."""
        return self._call(self.election(key).leader)

    def expires_within(self, ttl: float) -> float:
        """Seconds after its last renewal by which a silent leader's claim is gone."""
        return self._engine.expires_within(ttl)

    # -- the end ---------------------------------------------------------------------------

    @uninterrupted
    def close(self, timeout: float | None = None) -> bool:
        """Stop the candidates and followers of this store, release all, and close it.

        May be called again, and from any thread: each call waits for the first one, within its own
        timeout, and says the same. A signal handler that interrupts the first one does not wait. Nor
        does one that has interrupted the work of `lead` or a request to this store: it gets False at
        once, and the store is closed when what was interrupted has ended.

        Args:
            timeout: seconds for all of it; None means five. What the store has not confirmed by
                then is left to end with its ttl.

        Returns:
            Whether the store has confirmed that everything is released.
        """
        longest = check_timeout(timeout)
        return self._close_by(clock.now() + (_CLOSE_SECONDS if longest is None else longest))

    def _close_by(self, until: float) -> bool:
        """Close it as `close` does, until a time of the clock."""
        if self._forked:
            return True
        self._closed = True
        if self._engine.is_held_up_here():
            # A signal handler has interrupted what must end first, and does so when this returns.
            self._close_later = True
            self._engine.begin_close()
            return False
        self._close_later = False
        me = threading.get_ident()
        try:
            self._unclosed.pop()
        except IndexError:  # another call is at it, or has been
            if self._closer != me:
                self._close_ended.wait(max(0.0, until - clock.now()))
            return self._released
        self._closer = me
        try:
            self._released = self._engine.close(until)
        except BaseException:  # an interrupt: the next call goes on with it
            self._unclosed.append(None)
            raise
        finally:
            self._closer = None
        lifetimes.unregister(self)  # a fork until then must find it
        self._collected.detach()
        self._close_ended.set()
        return self._released

    def __enter__(self) -> Self:
        self._guard()
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

    # -- behind `internals` -----------------------------------------------------------------

    @property
    def _forked(self) -> bool:
        """Whether this is a child of the process that opened the store."""
        return self._engine.forked

    def _fork_guard(self) -> None:
        """Raise `ForkedStore` in a forked child."""
        if self._engine.forked:
            raise ForkedStore(
                f"{self.url} belongs to the parent of process {os.getpid()}: "
                "a forked child needs a store that it opens itself"
            )

    def _guard(self) -> None:
        """Raise `ForkedStore` in a forked child, and `StoreClosed` after `close`."""
        self._fork_guard()
        if self._closed:
            raise StoreClosed(f"{self.url} is closed")

    def _kept_by(self, thing: T) -> T:
        """Keep this store from being collected for as long as something of it is in use."""
        with suppress(AttributeError):  # one of a plugin's with slots
            thing._store_of_user = self  # type: ignore[attr-defined]  # noqa: SLF001 - no class declares it
        return thing

    def _finish_close(self) -> None:
        """Close it if `close` was called where it could not wait; called where it can."""
        if self._close_later and not self._engine.is_held_up_here():
            self.close()

    def _open(self) -> Store:
        self._guard()
        return self._backend

    def _call(self, request: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a request of the user's to the backend.

        Raises:
            NotDone: it comes from a signal handler that has interrupted another one.
        """
        if interrupts(self._engine):
            raise NotDone(
                f"a signal handler has interrupted a request of this thread to {self.url}: "
                "make this one after the handler has returned"
            )
        try:
            return run_uninterruptible(self._engine, request, *args, **kwargs)
        finally:
            self._finish_close()

    def _need(self, capability: Capability, what: str) -> None:
        if capability not in self.capabilities:
            raise ConfigurationError(f"{self.url} has no {what} ({capability.name})")
