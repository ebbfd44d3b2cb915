"""A lock for the length of a piece of work: an election in which one stands once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from .candidate import Candidate
from .errors import ConfigurationError, NotElected
from .term import Term
from .timing import check_timeout, shown

if TYPE_CHECKING:
    from .handle import StoreHandle

__all__ = ["Lock"]

_PARTING_SECONDS = 1.0


class _Holder(Candidate):
    """A candidate that leaves for good when its first term ends, for whatever reason.

    The work that the lock was taken for ends with it, so a second term would be nobody's.
    """

    _terms_once = True


class Lock:
    """A lock on a key, held by one thread of all programs that use the store.

    It is the election of the same key: who holds the lock leads, so followers see its value, it
    keeps candidates out, and its term has a fencing token for `put(..., fence=term)`. Like every
    lease it can be lost; it is not taken again behind the back of who had it.

    May be taken again and again, and used from any thread. Threads that wait for one compete at
    the store. It is not reentrant. As a context manager it waits for as long as it takes, yields
    the `Term`, and releases at the end.

    Args:
        store: from `open_store`.
        key: the lock.
        value: what followers see of its holder.
        ttl: seconds after which the lock of a holder that has died is free, at the earliest.
        margin: as for `Candidate`.

    Raises:
        ConfigurationError: the key, the value, the ttl or the margin cannot work.
    """

    def __init__(
        self,
        store: StoreHandle,
        key: str,
        value: str = "",
        *,
        ttl: float = 15.0,
        margin: float | None = None,
    ) -> None:
        self._new_holder: Callable[[], _Holder] = lambda: _Holder(
            store, key, value, ttl=ttl, margin=margin
        )
        self.key = self._new_holder().key  # what is wrong is said here, and not at the first use
        self._store = store
        self._changing = threading.Lock()
        self._holders: dict[int, _Holder] = {}  # by the thread that has acquired it

    @property
    def term(self) -> Term | None:
        """The term for which this object holds the lock at this moment, or None."""
        terms = (holder.term for holder in list(self._holders.values()))
        return next((term for term in terms if term is not None), None)

    def acquire(self, timeout: float | None = None) -> Term | None:
        """Wait for the lock, and return the term for which it is held.

        Args:
            timeout: seconds to wait; None waits for ever. To take a lock that is free needs a few
                round trips to the store. After the timeout it waits a second more, at most, for
                the store to confirm that it does not stand in line any more.

        Returns:
            None if the lock was not free in time.

        Raises:
            ConfigurationError: this thread holds the lock; or the store refuses the ttl.
            StoreRefused: the store cannot be used as configured, and has never worked.
            StoreClosed: the store is closed, or was closed meanwhile.
        """
        check_timeout(timeout)
        if timeout is not None and timeout < 0:
            raise ConfigurationError(f"the timeout is a number of seconds, not {shown(timeout)}")
        self._store.guard()
        thread = threading.get_ident()
        with self._changing:
            before = self._holders.get(thread)
            if before is not None and before.is_leader:
                raise ConfigurationError(
                    f"this thread holds the lock {self.key!r} already: it is not reentrant"
                )
            holder = self._holders[thread] = self._new_holder()
        term = None
        try:
            term = holder.wait_elected(timeout)
        finally:
            if term is None:  # also after an interrupt
                self._forget(thread, holder)
                if not self._store.forked:
                    holder.stop(_PARTING_SECONDS)
        if term is None:
            self._store.guard()
        return term

    def release(self) -> bool:
        """Give the lock up: the one that this thread has acquired, or else this object's only one.

        Blocks until the store has confirmed it, at most for one ttl.

        Returns:
            True once the store has confirmed; False if the lock was not held (any more).
        """
        self._store.fork_guard()
        thread = threading.get_ident()
        with self._changing:
            holders = self._holders
            if thread not in holders:
                held = [one for one, holder in holders.items() if holder.is_leader]
                if len(held) != 1:
                    return False
                thread = held[0]
            holder = holders.pop(thread)
        was_held = holder.is_leader
        return holder.stop() and was_held

    def _forget(self, thread: int, holder: _Holder) -> None:
        with self._changing:
            if self._holders.get(thread) is holder:
                del self._holders[thread]

    def __enter__(self) -> Term:
        term = self.acquire()
        if term is None:  # it waits for ever, so somebody has released it in the meantime
            raise NotElected(f"waiting for the lock {self.key!r} was ended")
        return term

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._store.forked and threading.get_ident() in self._holders:
            self.release()

    def __repr__(self) -> str:
        return f"<Lock {self.key} on {self._store.url}>"
