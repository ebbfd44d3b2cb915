"""Candidate of an election, for programs on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from .. import candidate
from ..backend.protocols import Closable
from ..backend.validation import check_cooldown, check_timeout, check_ttl
from ..engine.candidate_control import CandidateControl
from ..engine.open_store import OpenStore
from ..only_leader import OnlyLeader
from .callbacks import check_function
from .candidate_callbacks import CandidateCallbacks, OnElected, OnLost
from .leading import Leading, Working, work_for
from .only_leader import only_leader
from .ready import ReadyInLoop
from .store import Store, opened_by
from .term import CandidateEvent, Term, asyncio_event, asyncio_term
from .term_work import leave_work
from .waiting import AwaitingIterator, begin, run

__all__ = ["Candidate"]


class Candidate:
    """Campaigns in an election on a store, again and again, until it is stopped.

    As `leadership_core.Candidate`: the same names and meanings, but what blocks there is awaited
    here. Campaigns, renewals and time limits are in threads of the store, so an event loop that is
    blocked delays none of them. All methods may be called in any event loop; nothing here polls.
    As an asynchronous context manager it is started at the beginning and stopped at the end.

    Args:
        store: the store, from `leadership_core.aio.open_store`.
        key: the key of the election; the same for all its candidates and followers.
        value: what followers see while this candidate leads, at most 64 KiB of UTF-8.
        ttl: seconds after which a leader that has died is replaced, at the earliest.
        margin: seconds before the end of the ttl at which a leader that cannot reach the store
            stops leading; by default a tenth of the ttl, and at least half a second.
        on_elected: called with each `Term`.
        on_lost: called with the `Lost` or `Resigned` that ends it.
        ready: says whether the program can lead; a loop that is blocked for a third of the ttl cannot.
        watchdog: seconds, as for `leadership_core.Candidate`.

    Callbacks are functions or coroutine functions. They are called in the event loop in which the
    candidate was started, `on_elected` and `on_lost` one at a time and in order.

    Raises:
        ConfigurationError: an argument is invalid.
        StoreClosed: the store is closed.
        ForkedStore: the store belongs to the parent process.

    Example:
        >>> async with Candidate(store, "service/api", "node-1", ttl=15) as candidate:
        ...     term = await candidate.wait_elected(timeout=5)
        ...     print(candidate.is_leader)
        True
    """

    def __init__(
        self,
        store: Store,
        key: str,
        value: str,
        *,
        ttl: float = 15.0,
        margin: float | None = None,
        on_elected: OnElected | None = None,
        on_lost: OnLost | None = None,
        ready: Callable[[], Awaitable[object] | object] | None = None,
        watchdog: float | None = None,
    ) -> None:
        self._store = store
        self._opened: OpenStore = opened_by(store)
        asked = None if ready is None else ReadyInLoop(ready, check_ttl(ttl))
        self._candidate = candidate.Candidate(
            store.blocking, key, value, ttl=ttl, margin=margin, ready=asked, watchdog=watchdog
        )
        self._control: CandidateControl = self._candidate._control  # noqa: SLF001 - two faces of one candidate
        self._callbacks = CandidateCallbacks(self._control, on_elected, on_lost, asked)
        # The wait that has started the campaign, as long as nothing else wants it.
        self._starter: object = None

    @property
    def key(self) -> str:
        """The key of the election, normalised."""
        return self._candidate.key

    @property
    def value(self) -> str:
        """What followers see while this candidate leads."""
        return self._candidate.value

    @property
    def ttl(self) -> float:
        """Seconds, as requested; the store may grant another ttl."""
        return self._candidate.ttl

    @property
    def is_leader(self) -> bool:
        """Whether this candidate leads at this moment: computed from the clock, never stored."""
        return self._candidate.is_leader

    @property
    def term(self) -> Term | None:
        """The term for which it leads at this moment, or None; see `is_leader`."""
        if self._candidate.term is None:  # warns if it was never started
            return None
        current = self._control.valid_term
        return None if current is None else asyncio_term(current)

    # -- campaigning -----------------------------------------------------------------------

    def start(self) -> None:
        """Start to campaign; does not block, and has no effect while it campaigns already.

        Raises:
            ConfigurationError: it was stopped; or it has ended because the store refuses the ttl.
            StoreRefused: it has ended because the store cannot be used as configured.
            StoreClosed: the store is closed.
        """
        self._starter = None
        self._callbacks.start()
        self._candidate.start()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end_after(error)

    def run_for_election(self) -> AsyncIterator[bool]:
        """Start to campaign, and return an iterator over the outcome: whether it leads.

        Each call returns an independent iterator, which begins with the present value (False at first)
        and has one value for each change after that. A term that began and ended between two steps is
        skipped. Leaving the loop stops nothing; after `stop` it ends, with a last False if it led.

        Raises:
            StoreClosed: the store is closed.
            ConfigurationError: raised by the iterator, when the store refuses the ttl.
            StoreRefused: raised by the iterator, when the store cannot be used as configured, and
                has never worked.

        Example:
            >>> candidate = Candidate(store, "service/api", "node-1")
            >>> async for elected in candidate.run_for_election():
            ...     print("leader" if elected else "not leader")
            ...     if elected:
            ...         stopped = await candidate.stop()
            not leader
            leader
            not leader
        """
        self._starter = None
        self._callbacks.start()
        return AwaitingIterator(self._candidate.run_for_election(), bool)

    def events(self) -> AsyncIterator[CandidateEvent]:
        """Start to campaign, and return an iterator over typed events.

        It begins with the events that describe the present state, and ends after `Stopped`. The
        `Elected` among them is `leadership_core.aio.Elected`, whose term is awaited; it matches
        `leadership_core.Elected`, too.

        Raises:
            StoreClosed: the store is closed.
            ConfigurationError: raised by the iterator, when the store refuses the ttl.
            StoreRefused: raised by the iterator, when the store cannot be used as configured, and
                has never worked.
        """
        self._starter = None
        self._callbacks.start()
        return AwaitingIterator(self._candidate.events(), asyncio_event)

    def add_listener(
        self, callback: Callable[[CandidateEvent], Awaitable[object] | object]
    ) -> Closable:
        """Call a function with every event, as `events` yields them; does not start anything.

        It begins with the events that describe the present state, and ends after `Stopped`. It is called
        in the running event loop, one call at a time and in order. What it raises is logged.

        Args:
            callback: a function or coroutine function.

        Returns:
            Its `close` lets no further call begin; it does not wait for one that is under way.

        Raises:
            ConfigurationError: the callback cannot be called with an event.
        """
        check_function("callback", callback, "event")
        self._opened.fork_guard()
        return self._callbacks.add(callback)

    async def wait_elected(self, timeout: float | None = None) -> Term | None:
        """Start to campaign, and wait until elected; returns the term.

        If it is cancelled, the campaign goes on, unless this call has started it: then the
        candidate leaves the election, in the background.

        Args:
            timeout: seconds to wait; None waits without a limit. With 0 the store is asked once:
                the call returns as soon as the store has answered, after a third of the ttl at most.

        Returns:
            None if it is not elected in time although the store answers, because another candidate
            leads; or if it was stopped.

        Raises:
            NotElected: it is not elected in time because the store cannot be reached, or has not
                answered; its `__cause__` is the `StoreUnavailable`.
            StoreRefused: the store cannot be used as configured, and has never worked.
            ConfigurationError: the store refuses the ttl.
            StoreClosed: the store is closed.
        """
        timeout = check_timeout(timeout)
        wait = object()
        self._starter = None if self._control.started else wait
        self._callbacks.start()
        self._control.start()
        try:
            current = await run(self._control.awaiting_election(timeout))
        except (asyncio.CancelledError, GeneratorExit):
            if self._starter is wait and not self._opened.forked:
                begin(self._control.leaving())
            raise
        return None if current is None else asyncio_term(current)

    def leading(self, timeout: float | None = None) -> Leading:
        """Campaign while entered: yields the term once elected, leaves the election at the end.

        The body is cancelled as soon as the term is over; the claim is withdrawn only after the body
        has ended, for the rest of the lease at most. Leaving waits until the store has confirmed it,
        for one ttl at most; if the task is cancelled (once more) meanwhile, the candidate goes on
        to leave in the background.

        Args:
            timeout: seconds to wait for the election, as for `wait_elected`.

        Raises:
            NotElected: it was not elected in time; its `__cause__` is the `StoreUnavailable` if the
                store did not answer.
            LeadershipLost: in place of the `CancelledError` of a body whose term was over; and at the
                end of a body that has ended normally, if the term was lost before. Not if the body
                itself has ended the term (`resign`, `stop`, `store.close`).
            CancelledError: the task was cancelled by other code, before or after the loss.

        Example:
            >>> async with Candidate(store, "service/api", "node-1").leading(timeout=5) as term:
            ...     entry = await store.put("service/state", b"ready", fence=term)
            ...     print(entry.value)
            b'ready'
        """
        self._starter = None
        return Leading(self._control, self._opened, check_timeout(timeout), self._callbacks.start)

    def working(self) -> Working:
        """Work for the present term: yields it, and holds its release back until the block has ended.

        Holds it back for the rest of the lease at most. The body is cancelled as soon as the term is
        over.

        Raises:
            NotElected: this candidate does not lead.
            LeadershipLost: as for `leading`.

        Example:
            >>> async with Candidate(store, "service/api", "node-1") as candidate:
            ...     term = await candidate.wait_elected(timeout=5)
            ...     async with candidate.working() as term:
            ...         entry = await store.put("service/state", b"ready", fence=term)
        """
        return Working(self._control, self._opened)

    @property
    def only_leader(self) -> OnlyLeader:
        """A decorator of coroutine functions, and functions, that only the leader may run.

        Each call is work for the present term, as in a `working` block: a coroutine is cancelled when
        the term is over, and raises `LeadershipLost`. See `leadership_core.OnlyLeader`.

        Example:
            >>> candidate = Candidate(store, "service/api", "node-1")
            >>> @candidate.only_leader(otherwise="standby")
            ... async def clean_up(folder):
            ...     return f"{folder} is clean"
            >>> print(await clean_up("/tmp"))
            standby
        """
        return only_leader(self._control, self._opened)

    async def lead(
        self, work: Callable[[Term], Awaitable[object]], *, cooldown: float = 1.0
    ) -> None:
        """Await `work(term)` each time it is elected, until the candidate is stopped.

        The work is cancelled as soon as its term is over, and the claim is withdrawn only after it
        has ended, for the rest of the lease at most. After a loss the candidate campaigns again.

        Args:
            work: the work of the leader: a coroutine function. When it returns, the candidate
                resigns and campaigns again.
            cooldown: seconds for which it does not campaign after that, so that others win.

        Raises:
            ConfigurationError: the work cannot be called with a term, or is no coroutine function.
            CancelledError: the task was cancelled, after the work has been, and the candidate has stopped.
            Exception: what the work raises, after the candidate has resigned and stopped.

        Example:
            >>> candidate = Candidate(store, "service/api", "node-1")
            >>> async def work(term):
            ...     print(f"term {term.token} begins")
            ...     await candidate.stop()
            >>> await candidate.lead(work)
            term 1 begins
        """
        check_function("work", work, "term")
        check_cooldown(cooldown)
        self._starter = None
        self._callbacks.start()
        self._control.start()
        try:
            while (current := await run(self._control.awaiting_election(None))) is not None:
                await work_for(work, self._control, self._opened, current)
                if not (self._opened.forked or current.term.lost):
                    await self.resign(cooldown)
        except BaseException as error:
            await self._end_after(error)
            raise

    async def _end_after(self, error: BaseException | None) -> None:
        if self._opened.forked:
            return
        if isinstance(error, GeneratorExit):  # the loop has ended before the task
            self._control.begin_stop()
        else:
            await self.stop()

    # -- leaving ---------------------------------------------------------------------------

    async def resign(self, cooldown: float = 1.0) -> bool:
        """Give up the term, so that another candidate is elected.

        Waits until work for the term has ended, which is cancelled, and the store has confirmed
        the release, for one ttl at most. Called inside the work of `lead`, or in a block of
        `working`, it does not wait: the claim is withdrawn when that has ended.

        Args:
            cooldown: seconds for which this candidate does not campaign, so that others win.

        Returns:
            True once the store has confirmed; False at once if it does not lead.

        Raises:
            ConfigurationError: the cooldown is not a number of seconds, 0 or more.
        """
        self._opened.guard()
        check_cooldown(cooldown)
        works_here = leave_work(self._control)
        return await run(self._control.resigning(cooldown, works_here=works_here))

    async def stop(self, timeout: float | None = None) -> bool:
        """Leave for good: withdraw the claim, and end all iterators.

        May be called repeatedly, from any task. A new run needs a new `Candidate`. Inside the work
        of `lead`, or in a block of `working`, it does not wait. If it is cancelled, the candidate goes on
        to leave in the background.

        Args:
            timeout: seconds to wait for the confirmation of the store; None means one ttl.

        Returns:
            Whether nothing of this candidate is left at the store.

        Raises:
            ConfigurationError: the timeout is not a number of seconds, 0 or more.
        """
        self._opened.fork_guard()
        timeout = check_timeout(timeout)
        works_here = leave_work(self._control)
        stopped = await run(self._control.stopping(timeout, works_here=works_here))
        if not works_here:
            await self._callbacks.finish()
        return stopped

    def __repr__(self) -> str:
        return f"<aio.{repr(self._candidate)[1:]}"
