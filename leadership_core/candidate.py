"""Candidate: a participant in one election, for the whole life of a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from . import engine
from .backend.validation import check_callback, check_cooldown, check_timeout
from .engine.deferred_exit import uninterrupted
from .engine.store_base import StoreBase, internals
from .only_leader import OnlyLeader

if TYPE_CHECKING:
    from .backend.protocols import Closable
    from .events import CandidateEvent, Lost, Resigned
    from .term import Term

__all__ = ["Candidate"]


class Candidate:
    """Campaigns in an election on a store, again and again, until it is stopped.

    The constructor sends no request; the first of `start`, `run_for_election`, `events`,
    `wait_elected`, `leading` and `lead` starts the campaign. As a context manager it is started
    at the beginning and stopped at the end. All methods may be called from any thread, and from
    a signal handler.

    Args:
        store: the store, from `open_store`.
        key: the key of the election; the same for all its candidates and followers.
        value: what followers see while this candidate leads, at most 64 KiB of UTF-8.
        ttl: seconds after which a leader that has died is replaced, at the earliest.
        margin: seconds before the end of the ttl at which a leader that cannot reach the store
            stops leading; by default a tenth of the ttl, and at least half a second.
        on_elected: called with the `Term` of each `Elected`.
        on_lost: called with the event that ends each term, `Lost` or `Resigned`; all callbacks one
            at a time and in order, in a thread of this candidate alone, as those of `add_listener`.
        ready: says whether the program can lead. While it returns a false value, raises, or hangs,
            this candidate does not stand for election, and a leader resigns. It is called in a thread
            of its own: before each campaign, then every third of the ttl, at least every 5 s,
            and each second while it says no; an answer has the same time.
        watchdog: seconds after which a leader whose work has called neither `term.check()` nor
            `term.heartbeat()` loses its term (`LostReason.WATCHDOG`). Its claim is withdrawn when its
            work has ended, or at the end of the lease, and it campaigns again. Time in which the
            process is paused counts, but its work then has the same time once more.

    Raises:
        ConfigurationError: an argument is invalid.
        StoreClosed: the store is closed.
        ForkedStore: the store belongs to the parent process.

    Example:
        >>> with Candidate(store, "service/api", "node-1", ttl=15) as candidate:
        ...     term = candidate.wait_elected(timeout=5)
        ...     candidate.is_leader
        True
    """

    def __init__(
        self,
        store: StoreBase,
        key: str,
        value: str,
        *,
        ttl: float = 15.0,
        margin: float | None = None,
        on_elected: Callable[[Term], object] | None = None,
        on_lost: Callable[[Lost | Resigned], object] | None = None,
        ready: Callable[[], object] | None = None,
        watchdog: float | None = None,
    ) -> None:
        self._store = opened = internals(store)
        normalised = engine.check_candidate(opened, key, value, ttl, margin)
        if on_elected is not None:
            check_callback("on_elected", on_elected, "term")
        if on_lost is not None:
            check_callback("on_lost", on_lost, "event")
        self._control = engine.CandidateControl(
            opened, normalised, value, float(ttl), margin, gates=engine.Gates(ready, watchdog)
        )
        self._control.call_for_terms(on_elected, on_lost)
        self._state = self._control.state

    @property
    def key(self) -> str:
        """The key of the election, normalised."""
        return self._control.key

    @property
    def value(self) -> str:
        """What followers see while this candidate leads."""
        return self._control.value

    @property
    def ttl(self) -> float:
        """Seconds, as requested; the store may grant another ttl."""
        return self._control.ttl

    # -- state -----------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether this candidate leads at this moment: computed from the clock, never stored.

        A candidate that was never started cannot lead; the first read then logs a warning.
        """
        current = self._state.current
        if current is None:
            self._control.warn_unless_started()
            return False
        state = current.state
        return not state.ended and state.lease.check() is None  # `is_valid`, inlined

    @property
    def term(self) -> Term | None:
        """The term for which it leads at this moment, or None; see `is_leader`."""
        current = self._state.current
        if current is None:
            self._control.warn_unless_started()
            return None
        return current.term if current.state.is_valid() else None

    # -- campaigning -----------------------------------------------------------------------

    def start(self) -> None:
        """Start to campaign; does not block, and has no effect while it campaigns already.

        Raises:
            ConfigurationError: it was stopped; or it has ended because the store refuses the ttl.
            StoreRefused: it has ended because the store cannot be used as configured.
            StoreClosed: the store is closed.
            ForkedStore: the store belongs to the parent process.
        """
        self._store.guard()
        self._control.raise_if_ended()
        self._control.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._store.forked:
            self.stop()

    def run_for_election(self) -> Iterator[bool]:
        """Start to campaign, and return an iterator over the outcome: whether it leads.

        The campaign starts at the call. Each call returns an independent iterator, which begins
        with the present value (False at first) and has one value for each change after that. Each
        step blocks until there is one, without a limit. A term that began and ended between two
        steps is skipped. Leaving the loop stops nothing; after `stop` the iterator ends, with a
        last False if the value before was True.

        Raises:
            StoreClosed: the store is closed.
            ConfigurationError: raised by the iterator, when the store refuses the ttl.
            StoreRefused: raised by the iterator, when the store cannot be used as configured, and
                has never worked.

        Example:
            >>> candidate = Candidate(store, "service/api", "node-1")
            >>> for elected in candidate.run_for_election():
            ...     print("leader" if elected else "not leader")
            ...     if elected:
            ...         stopped = candidate.stop()
            not leader
            leader
            not leader
        """
        self._store.guard()
        outcomes = engine.LeadershipIterator(self._state, lambda: self._control.ended)
        self._control.start()
        return outcomes

    def events(self) -> Iterator[CandidateEvent]:
        """Start to campaign, and return an iterator over typed events.

        It begins with the events that describe the present state, and ends after `Stopped`. Each
        step blocks until there is an event, without a limit.

        Raises:
            StoreClosed: the store is closed.
            ConfigurationError: raised by the iterator, when the store refuses the ttl.
            StoreRefused: raised by the iterator, when the store cannot be used as configured, and
                has never worked.
        """
        self._store.guard()
        stream = self._state.broadcaster.stream()
        self._control.start()
        return stream

    def add_listener(self, callback: Callable[[CandidateEvent], object]) -> Closable:
        """Call a function with every event, as `events` yields them; does not block or start anything.

        It begins with the events that describe the present state, and ends after `Stopped`. All
        callbacks of this candidate are called one at a time and in order, in a daemon thread of this
        candidate alone. A slow one delays only the next ones; of more than 1,000 unread events,
        terms and outages that are over are dropped. What a callback raises is logged, and changes
        nothing. It may call every method. At the exit of the process, calls that are due have two
        seconds, together with all releases.

        Args:
            callback: an ordinary function, not a coroutine function.

        Returns:
            Its `close` lets no further call begin; it does not wait for one that is under way.

        Raises:
            ConfigurationError: the callback cannot be called with an event.
            ForkedStore: the store belongs to the parent process.
        """
        check_callback("callback", callback, "event")
        return self._control.listen(lambda event: engine.Call("callback", callback, event))

    def wait_elected(self, timeout: float | None = None) -> Term | None:
        """Start to campaign, and block until elected; returns the term.

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
        self._control.start()
        current = self._control.await_elected(timeout)
        return None if current is None else current.term

    @contextmanager
    def leading(self, timeout: float | None = None) -> Iterator[Term]:
        """Campaign while entered: yields the term once elected, leaves the election at the end.

        Leaving blocks until the store has confirmed it, for one ttl at most.

        Args:
            timeout: seconds to wait for the election, as for `wait_elected`.

        Raises:
            NotElected: it was not elected in time; its `__cause__` is the `StoreUnavailable` if the
                store did not answer.
            LeadershipLost: at the end of a block that has ended normally, if the term was lost
                before: what the block did may have overlapped with the next leader. Not raised
                when the program itself has ended the term (`resign`, `stop`, `store.close`).

        Example:
            >>> with Candidate(store, "service/api", "node-1").leading(timeout=5) as term:
            ...     store.put("service/state", b"ready", fence=term).value
            b'ready'
        """
        timeout = check_timeout(timeout)
        try:
            self._control.start()
            current = self._control.await_elected(timeout)
            if current is None:
                raise self._control.not_elected(timeout)
            yield current.term
            lost = self._control.loss_of(current)
        finally:
            if not self._store.forked:
                uninterrupted(self._control.leave)()
        if lost is not None:
            raise lost

    def lead(self, work: Callable[[Term], object], *, cooldown: float = 1.0) -> None:
        """Call `work(term)` in this thread each time it is elected; blocks until it is stopped.

        The claim is withdrawn only after the work has returned: until then no other candidate is
        elected, for the rest of the lease at most. Work that runs long calls `term.check()`, or
        reads `term.lost`; leaving by the `LeadershipLost` of its own term counts as a return.

        Args:
            work: the work of the leader: an ordinary function, not a coroutine function. When it
                returns, the candidate resigns and campaigns again.
            cooldown: seconds for which it does not campaign after that, so that others win.

        Raises:
            ConfigurationError: the work cannot be called with a term, or makes a coroutine that
                nothing would await.
            Exception: what the work raises, after the candidate has resigned and stopped.

        Example:
            >>> candidate = Candidate(store, "service/api", "node-1")
            >>> def work(term):
            ...     print(f"term {term.token} begins")
            ...     candidate.stop()
            >>> candidate.lead(work)
            term 1 begins
        """
        check_callback("work", work, "term")
        check_cooldown(cooldown)
        self._control.start()
        engine.lead(self._control, work, cooldown)

    @contextmanager
    def working(self) -> Iterator[Term]:
        """Work for the present term while entered: its claim is withdrawn only after the block.

        It does not wait to be elected. Blocks may be nested, may overlap, and may end in another
        thread. Until the last one has ended no other candidate is elected, for the rest of the lease
        at most. `stop`, `resign` and `store.close` wait for that within their own time limits; in
        the thread of a block they do not wait.

        Raises:
            NotElected: at the beginning, at once, if it does not lead; its `__cause__` is the
                `StoreUnavailable` if the store does not answer.
            LeadershipLost: at the end of a block that has ended normally, if the term was lost before.
                Not raised when the program itself has ended the term (`resign`, `stop`,
                `store.close`).
            ForkedStore: the store belongs to the parent process.

        Example:
            >>> with Candidate(store, "service/api", "node-1") as candidate:
            ...     elected = candidate.wait_elected(timeout=5)
            ...     with candidate.working() as term:
            ...         store.put("service/state", b"ready", fence=term).value
            b'ready'
        """
        with engine.working(self._control) as term:
            assert term is not None
            yield term

    @property
    def only_leader(self) -> OnlyLeader:
        """A decorator of functions, and coroutine functions, that only the leader may run.

        Each call is work for the present term, as in a `working` block. See `OnlyLeader`.
        """
        return OnlyLeader(self._control)

    # -- leaving ---------------------------------------------------------------------------

    @uninterrupted
    def resign(self, cooldown: float = 1.0) -> bool:
        """Give up the term, so that another candidate is elected.

        Blocks until the store has confirmed it, for one ttl at most. Called inside the work of
        `lead` it does not wait: the claim is withdrawn when the work has returned.

        Args:
            cooldown: seconds for which this candidate does not campaign, so that others win.

        Returns:
            True once the store has confirmed; False at once if it does not lead.

        Raises:
            ConfigurationError: the cooldown is not a number of seconds, 0 or more.
            StoreClosed: the store is closed.
            ForkedStore: the store belongs to the parent process.
        """
        self._store.guard()
        check_cooldown(cooldown)
        return self._control.resign(cooldown)

    @uninterrupted
    def stop(self, timeout: float | None = None) -> bool:
        """Leave for good: withdraw the claim, and end all iterators.

        May be called repeatedly, from any thread, from the loop over `run_for_election`, and from
        the work of `lead`, where it does not wait. A new run needs a new `Candidate`.

        Args:
            timeout: seconds to wait for the confirmation of the store; None means one ttl. If it
                is not confirmed in time, the candidate goes on to leave in the background.

        Returns:
            Whether nothing of this candidate is left at the store.

        Raises:
            ConfigurationError: the timeout is not a number of seconds, 0 or more.
            ForkedStore: the store belongs to the parent process.
        """
        self._store.fork_guard()
        return self._control.stop(check_timeout(timeout))

    def __repr__(self) -> str:
        return f"<Candidate {self.value!r} for {self.key} on {self._store.url}>"
