"""A lock for the length of a piece of work: an election in which each acquisition stands once."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from .candidate import Candidate, check_candidacy
from .errors import ConfigurationError, LeadershipLost, NotElected, StoreClosed
from .internals import internals
from .shutdown import uninterrupted
from .term import Term
from .timing import check_timeout

if TYPE_CHECKING:
    from .handle import StoreHandle

__all__ = ["Lock"]

log = logging.getLogger("leadership.candidate")

_PARTING_SECONDS = 1.0


class _Holder(Candidate):
    """A candidate that leaves for good when its first term ends, for whatever reason.

    The work that the lock was taken for ends with it, so there must be no second term.
    """

    _terms_once = True


@dataclass(frozen=True, slots=True)
class _Acquisition:
    """One acquisition: its candidate, and the thread that made it."""

    holder: _Holder
    thread: object


class _Thread(threading.local):
    """Stands for the thread that looks at `mark`; unlike its ident, it is never reused."""

    def __init__(self) -> None:
        self.mark = object()


_this_thread = _Thread()


class Lock:
    """A lock on a key, held by one thread of all programs that use the store.

    It is the election of the same key: the holder of the lock leads, so followers see its value, it
    keeps candidates out, and its term has a fencing token for `put(..., fence=term)`. Like every
    lease it can be lost; it is not acquired again without a call of `acquire`.

    One object may be acquired again and again, from any thread, and by several threads at once: each
    acquisition is a candidate of its own, waits for the others, and has a `Term` of its own, which
    names it when it is released. As a context manager it waits without a limit, yields the `Term`,
    releases that term at the end, and raises `LeadershipLost` there if the body has ended normally
    although the term had been lost before.

    It is not reentrant: inside a `with` block, `acquire` by the same thread raises
    `ConfigurationError`, because it would wait for itself.

    Args:
        store: from `open_store`.
        key: the lock.
        value: what followers see of its holder.
        ttl: seconds after which the lock of a holder that has died is free, at the earliest.
        margin: as for `Candidate`.

    Raises:
        ConfigurationError: the key, the value, the ttl or the margin cannot work.

    Example:
        >>> with store.lock("jobs/17", ttl=10) as term:
        ...     store.put("jobs/17/state", b"done", fence=term)
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
        self.key = check_candidacy(store, key, value, ttl, margin)
        self._user_store = store
        self._store = internals(store)
        self._value, self._ttl, self._margin = value, ttl, margin
        self._election = store.election(self.key)  # what it has learnt is kept as long as this is
        # Both in the order in which they were acquired.
        self._held: dict[Term, _Acquisition] = {}  # not released yet
        self._blocks: dict[Term, object] = {}  # of `with` blocks that are open, by their thread

    @property
    def term(self) -> Term | None:
        """The term for which this object holds the lock at this moment, or None."""
        return next((term for term in list(self._held) if not term.lost), None)

    def acquire(self, timeout: float | None = None) -> Term | None:
        """Wait for the lock, and return the term for which it is held.

        Args:
            timeout: seconds to wait; None waits without a limit. With 0 the store is asked once, and
                the call returns as soon as the store has answered, at most after a third of the ttl.
                After the timeout it waits a second more, at most, for the store to confirm that
                the claim is withdrawn.

        Returns:
            None if the lock was not free in time although the store answers: another one holds it.

        Raises:
            NotElected: the store cannot be reached, or has not answered; the `StoreUnavailable` is
                its `__cause__`.
            ConfigurationError: this thread holds the lock in a `with` block; or the store refuses
                the ttl.
            StoreRefused: the store cannot be used as configured, and has never worked.
            StoreClosed: the store is closed, or was closed meanwhile.
        """
        timeout = check_timeout(timeout)
        self._store.guard()
        self._refuse_to_wait_for_itself()
        for lost in [one for one in list(self._held) if one.lost and one not in self._blocks]:
            self._held.pop(lost, None)
        holder = _Holder(
            self._user_store, self.key, self._value, ttl=self._ttl, margin=self._margin
        )
        term = None
        kept = False
        try:
            term = holder.wait_elected(timeout)
            if term is not None:
                self._held[term] = _Acquisition(holder, _this_thread.mark)
                kept = True
        finally:
            if not kept:  # also after an interrupt
                if term is not None:
                    self._held.pop(term, None)
                if not self._store.forked:
                    holder.stop(_PARTING_SECONDS)
        if term is None:
            self._store.guard()
        return term

    def _refuse_to_wait_for_itself(self) -> None:
        thread = _this_thread.mark
        if any(one is thread and not term.lost for term, one in list(self._blocks.items())):
            raise ConfigurationError(
                f"this thread holds the lock {self.key!r} already, in a with block: "
                "a lock is not reentrant"
            )

    @uninterrupted
    def release(self, term: Term | None = None) -> bool:
        """Give up one acquisition of the lock, and no other.

        Blocks until the store has confirmed it, at most for one ttl. May be called from any thread.

        Args:
            term: what `acquire` returned, or the `with` block yielded. Without it, the latest
                acquisition of the calling thread that has not been released; where tasks share
                threads, name the term.

        Returns:
            True once the store has confirmed; False if the lock was not held for that term (any
            more), or the store has not confirmed in time.

        Raises:
            ConfigurationError: no term is named, this thread has not acquired the lock, and another
                one holds it.
        """
        self._store.fork_guard()
        if term is None:
            term = self._latest_of_this_thread()
        held = None if term is None else self._held.pop(term, None)
        if held is None:
            return False
        was_held = held.holder.is_leader
        return held.holder.stop() and was_held

    def _latest_of_this_thread(self) -> Term | None:
        thread = _this_thread.mark
        held = list(self._held.items())
        mine = [term for term, acquisition in held if acquisition.thread is thread]
        if mine:
            return mine[-1]
        if any(not term.lost for term, _ in held):
            raise ConfigurationError(
                f"this thread has not acquired the lock {self.key!r}: "
                "name the term to release, lock.release(term)"
            )
        return None

    def __enter__(self) -> Term:
        term = self.acquire()
        if term is None:  # without a limit, so the store or the process is ending
            raise NotElected(f"waiting for the lock {self.key!r} was ended")
        self._blocks[term] = _this_thread.mark
        return term

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._store.forked:
            return
        term = self._block_that_ends()
        if term is None:
            return
        self._blocks.pop(term, None)
        # Not by its own wish: it was not released inside, and the store is not being closed.
        lost = term.lost and term in self._held and not self._is_closing()
        self.release(term)
        if lost and kind is None:
            raise LeadershipLost(
                f"the lock {self.key!r} was lost before its with block ended (term {term.token}): "
                "what the block did last may have overlapped with the next holder"
            )

    def _block_that_ends(self) -> Term | None:
        blocks = list(self._blocks.items())
        mine = [term for term, thread in blocks if thread is _this_thread.mark]
        if mine:
            return mine[-1]
        # The block was handed to this thread, with an ExitStack, say.
        if len(blocks) == 1:
            return blocks[0][0]
        log.warning("no with block of the lock %r was entered in this thread", self.key)
        return None

    def _is_closing(self) -> bool:
        try:
            return self._store.engine.closing
        except StoreClosed:
            return True

    def __repr__(self) -> str:
        return f"<Lock {self.key} on {self._store.url}>"
