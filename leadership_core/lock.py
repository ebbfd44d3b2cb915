"""Lock: an election that is held for one piece of work; each acquisition is a candidate for one term."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from . import engine
from .backend.threads import this_thread
from .backend.validation import check_timeout
from .engine.deferred_exit import uninterrupted
from .engine.store_base import StoreBase, internals
from .errors import ConfigurationError, LeadershipLost, NotElected

if TYPE_CHECKING:
    from .term import Term

__all__ = ["Lock"]

_PARTING_SECONDS = 1.0


class _Acquisition(NamedTuple):
    """One acquisition: its candidate, and the thread that made it."""

    candidate: engine.CandidateControl
    thread: object


class Lock:
    """A lock on a key, held by one thread of all programs that use the store.

    It is the election of the same key: the holder of the lock is the leader, so followers see its
    value, candidates of the key wait for it, and its term has a fencing token for
    `put(..., fence=term)`. Like every lease it can be lost; it is not acquired again without
    another call of `acquire`.

    One object may be acquired repeatedly, from any thread, and by several threads at once: each
    acquisition is a separate candidate, waits for the others, and has its own `Term`, which
    identifies it when it is released. As a context manager it waits without a limit, yields the
    `Term`, releases that term at the end, and raises `LeadershipLost` there if the body has ended
    normally although the term was lost before.

    It is not reentrant: inside a `with` block, `acquire` by the same thread raises
    `ConfigurationError`, because it would wait for itself.

    Args:
        store: the store, from `open_store`.
        key: the key of the lock.
        value: what followers see of the holder.
        ttl: seconds after which the lock of a holder that has died is free, at the earliest.
        margin: seconds, as for `Candidate`.

    Raises:
        ConfigurationError: the key, the value, the ttl or the margin is invalid.

    Example:
        >>> with store.lock("jobs/17", ttl=10) as term:
        ...     store.put("jobs/17/state", b"done", fence=term).value
        b'done'
    """

    def __init__(
        self,
        store: StoreBase,
        key: str,
        value: str = "",
        *,
        ttl: float = 15.0,
        margin: float | None = None,
    ) -> None:
        self._store = opened = internals(store)
        self.key: str = engine.check_candidate(opened, key, value, ttl, margin)
        self._value, self._ttl, self._margin = value, float(ttl), margin
        # The store's election knows what earlier claims did, and is kept while this refers to it.
        self._election = opened.election(self.key)
        # Both in the order in which they were acquired.
        self._held: dict[Term, _Acquisition] = {}  # not released yet
        self._blocks: dict[Term, object] = {}  # of open `with` blocks, with their threads

    @property
    def term(self) -> Term | None:
        """The term for which this object holds the lock at this moment, or None."""
        return next((term for term in list(self._held) if not term.lost), None)

    def acquire(self, timeout: float | None = None) -> Term | None:
        """Wait for the lock, and return the term for which it is held.

        Args:
            timeout: seconds to wait; None waits without a limit. With 0 the store is asked once, and
                the call returns as soon as the store has answered, after a third of the ttl at most.
                After the timeout it waits for one more second at most, for the store to confirm
                that the claim is withdrawn.

        Returns:
            None if the lock was not free in time although the store answers: it is held elsewhere.

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
        thread = this_thread.mark
        if any(one is thread and not term.lost for term, one in list(self._blocks.items())):
            # It would wait for itself.
            raise ConfigurationError(
                f"this thread holds the lock {self.key!r} already, in a with block: "
                "a lock is not reentrant"
            )
        for lost in [one for one in list(self._held) if one.lost and one not in self._blocks]:
            self._held.pop(lost, None)
        # The work that the lock is acquired for ends with the term: there must be no second one.
        candidate = engine.CandidateControl(
            self._store, self.key, self._value, self._ttl, self._margin, once=True
        )
        term = None
        kept = False
        try:
            candidate.start()
            current = candidate.await_elected(timeout)
            if current is not None:
                term = current.term
                self._held[term] = _Acquisition(candidate, thread)
                kept = True
        finally:
            if not kept:  # also after an interrupt
                if term is not None:
                    self._held.pop(term, None)
                if not self._store.forked:
                    uninterrupted(candidate.stop)(_PARTING_SECONDS)
        if term is None:
            self._store.guard()
        return term

    @uninterrupted
    def release(self, term: Term | None = None) -> bool:
        """Release one acquisition of the lock, and no other.

        Blocks until the store has confirmed it, for one ttl at most. May be called from any thread.

        Args:
            term: what `acquire` returned, or the `with` block yielded. Without it, the latest
                acquisition of the calling thread that has not been released; where tasks share
                threads, name the term.

        Returns:
            True once the store has confirmed; False if the lock was not held for that term (any
            more), or the store has not confirmed in time.

        Raises:
            ConfigurationError: no term is named, this thread has not acquired the lock, and another
                thread holds it.
            ForkedStore: the store belongs to the parent process.
        """
        self._store.fork_guard()
        if term is None:
            term = self._latest_of_this_thread()
        held = None if term is None else self._held.pop(term, None)
        if held is None:
            return False
        was_held = held.candidate.valid_term is not None
        return held.candidate.stop(None) and was_held

    def _latest_of_this_thread(self) -> Term | None:
        thread = this_thread.mark
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
            raise NotElected(f"the wait for the lock {self.key!r} was ended")
        self._blocks[term] = this_thread.mark
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
        # Lost, unless it was released inside the block, or the store is being closed.
        lost = term.lost and term in self._held and not self._store.closing
        self.release(term)
        if lost and kind is None:
            raise LeadershipLost(
                f"the lock {self.key!r} was lost before its with block ended (term {term.token}): "
                "what the block did last may have overlapped with the next holder"
            )

    def _block_that_ends(self) -> Term | None:
        blocks = list(self._blocks.items())
        mine = [term for term, thread in blocks if thread is this_thread.mark]
        if mine:
            return mine[-1]
        # The block was handed to this thread, with an ExitStack, say.
        if len(blocks) == 1:
            return blocks[0][0]
        import logging  # only here: the open store has loaded it

        log = logging.getLogger("leadership.candidate")
        log.warning("no with block of the lock %r was entered in this thread", self.key)
        return None

    def __repr__(self) -> str:
        return f"<Lock {self.key} on {self._store.url}>"
