"""Lock for programs on asyncio: an election that is held for one piece of work of one task."""

from __future__ import annotations

import asyncio
import logging
import weakref
from dataclasses import dataclass
from types import TracebackType

from ..backend.validation import check_timeout
from ..engine.candidate_arguments import check_candidate
from ..engine.candidate_control import CandidateControl
from ..engine.candidate_state import CurrentTerm
from ..engine.open_store import OpenStore
from ..errors import ConfigurationError, LeadershipLost, NotElected
from .term import Term, asyncio_term
from .term_work import TermWork, current_task, leave_work, task_or_none
from .waiting import run

__all__ = ["Lock"]

log: logging.Logger = logging.getLogger("leadership.aio")

_PARTING_SECONDS = 1.0


@dataclass(slots=True)
class _Acquisition:
    """One acquisition: its candidate, and the task that made it; with its block, if it has one."""

    candidate: CandidateControl
    current: CurrentTerm
    task: weakref.ref[asyncio.Task[object]]  # one of a closed loop is to be collected
    work: TermWork | None = None


class Lock:
    """A lock on a key, held by one task of all programs that use the store; from `Store.lock`.

    As `leadership_core.Lock`, but it belongs to a task in place of a thread: each acquisition is a
    separate candidate, waits for the others, and has its own `Term`, which identifies it when
    it is released. As an asynchronous context manager it waits without a limit, yields the `Term`,
    and releases that term at the end; the body is cancelled as soon as the term is over.

    It is not reentrant: inside a block, `acquire` by the same task raises `ConfigurationError`.

    Args:
        opened: the open store.
        key: the key of the lock.
        value: what followers see of the holder.
        ttl: seconds after which the lock of a holder that has died is free, at the earliest.
        margin: seconds, as for `Candidate`.

    Raises:
        ConfigurationError: the key, the value, the ttl or the margin is invalid.
        LeadershipLost: at the end of a block, in place of the `CancelledError`, if the body was
            cancelled because the lock was lost; and if the body has ended normally, but the lock was
            lost before.
        CancelledError: at the end of a block, if other code has cancelled the task.

    Example:
        >>> async with store.lock("jobs/17", ttl=10) as term:
        ...     entry = await store.put("jobs/17/state", b"done", fence=term)
        ...     print(entry.value)
        b'done'
    """

    def __init__(
        self,
        opened: OpenStore,
        key: str,
        value: str = "",
        *,
        ttl: float = 15.0,
        margin: float | None = None,
    ) -> None:
        self._opened = opened
        self.key: str = check_candidate(opened, key, value, ttl, margin)
        self._value, self._ttl, self._margin = value, float(ttl), margin
        # The store's election knows what earlier claims did, and is kept while this refers to it.
        self._election = opened.election(self.key)
        self._held: dict[Term, _Acquisition] = {}  # not released, in the order of acquisition
        self._blocks: dict[Term, _Acquisition] = {}  # the open blocks, in the order of entrance

    @property
    def term(self) -> Term | None:
        """The term for which this object holds the lock at this moment, or None."""
        return next((term for term in list(self._held) if not term.lost), None)

    async def acquire(self, timeout: float | None = None) -> Term | None:
        """Wait for the lock, and return the term for which it is held.

        If it is cancelled, the lock is not held: a claim is withdrawn, even if it has just been granted.
        That is awaited for one second at most, and goes on in the background.

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
            ConfigurationError: this task holds the lock in a block; or the store refuses the ttl.
            StoreRefused: the store cannot be used as configured, and has never worked.
            StoreClosed: the store is closed, or was closed meanwhile.
        """
        acquired = await self._acquire(timeout)
        return None if acquired is None else asyncio_term(acquired.current)

    async def _acquire(self, timeout: float | None) -> _Acquisition | None:
        timeout = check_timeout(timeout)
        self._opened.guard()
        task = current_task()
        for term, one in list(self._blocks.items()):
            if one.task() is task and not term.lost:
                raise ConfigurationError(  # it would wait for itself
                    f"this task holds the lock {self.key!r} already, in an async with block: "
                    "a lock is not reentrant"
                )
        for lost in [one for one in list(self._held) if one.lost and one not in self._blocks]:
            self._held.pop(lost, None)
        # The work that the lock is acquired for ends with the term: there must be no second one.
        candidate = CandidateControl(
            self._opened, self.key, self._value, self._ttl, self._margin, once=True
        )
        try:
            candidate.start()
            current = await run(candidate.awaiting_election(timeout))
            if current is not None:
                acquired = _Acquisition(candidate, current, weakref.ref(task))
                self._held[asyncio_term(current)] = acquired
                return acquired
        except BaseException as error:
            if isinstance(error, GeneratorExit):  # the loop has ended before the task
                candidate.begin_stop()
            elif not self._opened.forked:
                await run(candidate.stopping(_PARTING_SECONDS, works_here=False))
            raise
        await run(candidate.stopping(_PARTING_SECONDS, works_here=False))
        self._opened.guard()
        return None

    async def release(self, term: Term | None = None) -> bool:
        """Release one acquisition of the lock, and no other.

        Waits until the store has confirmed it, for one ttl at most. May be called in any task; the
        block of another task is cancelled, and waited for. If it is cancelled, the release goes on in
        the background.

        Args:
            term: what `acquire` returned, or the block yielded. Without it, the latest acquisition
                of the running task that has not been released.

        Returns:
            True once the store has confirmed; False if the lock was not held for that term (any
            more), or the store has not confirmed in time.

        Raises:
            ConfigurationError: no term is named, this task has not acquired the lock, and another
                one holds it.
            ForkedStore: the store belongs to the parent process.
        """
        self._opened.fork_guard()
        if term is None:
            term = self._latest_of_this_task()
        held = None if term is None else self._held.pop(term, None)
        if held is None:
            return False
        was_held = held.candidate.valid_term is not None
        leave_work(held.candidate)
        return await run(held.candidate.stopping(None, works_here=False)) and was_held

    def _latest_of_this_task(self) -> Term | None:
        task = task_or_none()
        held = list(self._held.items())
        mine = [term for term, acquisition in held if acquisition.task() is task]
        if mine:
            return mine[-1]
        if any(not term.lost for term, _ in held):
            raise ConfigurationError(
                f"this task has not acquired the lock {self.key!r}: "
                "name the term to release, lock.release(term)"
            )
        return None

    async def __aenter__(self) -> Term:
        acquired = await self._acquire(None)
        if acquired is None:  # without a limit, so the store or the process is ending
            raise NotElected(f"the wait for the lock {self.key!r} was ended")
        acquired.work = TermWork(acquired.candidate, self._opened, acquired.current, is_block=True)
        term = asyncio_term(acquired.current)
        self._blocks[term] = acquired
        return term

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        term, acquired = self._block_that_ends()
        if acquired is None or acquired.work is None or term is None:
            return
        self._blocks.pop(term, None)
        lost = acquired.work.end(error)
        if not self._opened.forked:
            self._held.pop(term, None)
            if isinstance(error, GeneratorExit):  # the loop has ended before the task
                acquired.candidate.begin_stop()
            else:
                await run(acquired.candidate.stopping(None, works_here=False))
        if lost is not None:
            raise LeadershipLost(
                f"the lock {self.key!r} was lost before its block ended (term {term.token}): "
                "what the block did last may have overlapped with the next holder"
            ) from lost.__cause__

    def _block_that_ends(self) -> tuple[Term | None, _Acquisition | None]:
        task = task_or_none()
        blocks = list(self._blocks.items())
        # One whose task was collected has none, and is that of the block: its loop was closed.
        mine = [block for block in blocks if block[1].task() is task]
        if mine:
            return mine[-1]
        # The block was handed to this task, with an AsyncExitStack, say.
        if len(blocks) == 1:
            return blocks[0]
        log.warning("no block of the lock %r was entered in this task", self.key)
        return None, None

    def __repr__(self) -> str:
        return f"<aio.Lock {self.key} on {self._opened.url}>"
