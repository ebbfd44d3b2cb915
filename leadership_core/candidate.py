"""A candidate: what a program holds that wants to lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .engine import engine_of
from .engine.candidate_runner import CandidateRunner
from .errors import ConfigurationError, LeadershipLost, NotElected, StoreUnavailable
from .events import Event
from .machine import Phase, happenings as on
from .shutdown import uninterrupted
from .tenure import Tenure, Verdicts
from .term import Term
from .timing import (
    check_cooldown,
    check_timeout,
    check_ttl,
    first_answer_within,
    margin_for,
)

if TYPE_CHECKING:
    from .handle import StoreHandle

__all__ = ["Candidate"]

_LONGEST_VALUE = 64 * 1024


class Candidate:
    """Stands for election on a store, again and again, until it is stopped.

    The constructor contacts nobody; the first of `run_for_election`, `events`, `wait_elected`,
    `leading` and `lead` starts the campaign. All methods may be called from any thread.

    Args:
        store: from `open_store`.
        key: the election; the same on all candidates and followers of it.
        value: what followers see while this candidate leads, at most 64 KiB of UTF-8.
        ttl: seconds after which a leader that has died is replaced, at the earliest.
        margin: seconds before the ttl at which a leader that cannot reach the store stops
            believing; by default a tenth of the ttl and at least half a second.

    Raises:
        ConfigurationError: the key, the value, the ttl or the margin cannot work.
        StoreClosed: the store is closed.
        ForkedStore: the store is that of the parent process.
    """

    _terms_once = False  # whether it leaves for good when its first term ends

    def __init__(
        self,
        store: StoreHandle,
        key: str,
        value: str,
        *,
        ttl: float = 15.0,
        margin: float | None = None,
    ) -> None:
        self._engine = engine = engine_of(store)
        self.key = check_candidacy(store, key, value, ttl, margin)
        self.value = value
        self.ttl = float(ttl)
        self._store = store
        self._tenure = Tenure(self.key, value, store.fork_guard)
        self._changed = self._tenure.announcer.changed
        self._runner = CandidateRunner(
            engine,
            store.full_key(self.key),
            value.encode("utf-8", "surrogateescape"),
            self.ttl,
            margin,
            self._tenure,
            on_gone=lambda: engine.remove(self),
            once=self._terms_once,
        )

    # -- what it is ------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether this candidate leads at this moment: computed from the clock, never stored."""
        term = self._tenure.term
        return term is not None and term.stands()

    @property
    def term(self) -> Term | None:
        """The term that it leads for at this moment, or None."""
        term = self._tenure.term
        return term if term is not None and term.stands() else None

    # -- standing --------------------------------------------------------------------------

    def run_for_election(self) -> Iterator[bool]:
        """Start to campaign, and return an iterator over the outcome: whether it leads.

        The campaign starts at the call. Each call returns an iterator of its own that begins
        with the present value (False at first) and then has one value for each change; each
        step blocks until there is one. A term that began and ended between two steps is left
        out. Leaving the loop stops nothing; after `stop` the iterator ends, with a last False
        if the value before was True.

        Raises:
            ConfigurationError: from the iterator, when the store refuses the ttl.
            StoreRefused: from the iterator, when the store cannot be used as configured and
                has never worked.
        """
        self._store.guard()
        verdicts = Verdicts(self._tenure, lambda: self._ended)
        self._start()
        return verdicts

    def events(self) -> Iterator[Event]:
        """Start to campaign, and return an iterator over all that happens, as typed events.

        It begins with where the candidate stands, and ends after `Stopped`.
        """
        self._store.guard()
        story = self._tenure.announcer.story()
        self._start()
        return story

    def wait_elected(self, timeout: float | None = None) -> Term | None:
        """Start to campaign, and block until elected; returns the term.

        Args:
            timeout: seconds to wait; None waits without a limit. With 0 the store is asked once:
                the call returns as soon as the store has answered, at most a third of the ttl.

        Returns:
            None if it is not elected in time, or stopped.
        """
        timeout = check_timeout(timeout)
        self._start()
        return self._await_elected(timeout)

    def _await_elected(self, timeout: float | None) -> Term | None:
        with self._changed:
            self._changed.wait_for(lambda: self.term or self._ended, timeout)
            if timeout is not None:
                # The store has at least the time to say whether another one is ahead.
                self._changed.wait_for(
                    lambda: self.term or self._ended or self._runner.answered,
                    first_answer_within(self.ttl, timeout) - timeout,
                )
            if self._tenure.announcer.error is not None:
                raise self._tenure.announcer.error
            return self.term

    @contextmanager
    def leading(self, timeout: float | None = None) -> Iterator[Term]:
        """Stand while entered: yields the term once elected, leaves the election at the exit.

        Args:
            timeout: seconds to wait for the election, as for `wait_elected`.

        Raises:
            NotElected: it was not elected in time.
        """
        timeout = check_timeout(timeout)
        try:
            term = self.wait_elected(timeout)
            if term is None:
                why = "it was stopped" if self._ended else "not in time"
                raise NotElected(f"{self.value!r} was not elected for {self.key}: {why}")
            yield term
        finally:
            if not self._store.forked:
                self._leave()

    def lead(self, work: Callable[[Term], object], *, cooldown: float = 1.0) -> None:
        """Call `work(term)` each time it is elected, in this thread, until it is stopped.

        The claim is released only after the work has returned: until then nobody else is
        elected, at most for the rest of the lease. Work that runs long calls `term.check()`,
        or looks at `term.lost`; leaving by the `LeadershipLost` of its own term is a return.

        Args:
            work: what the leader does. When it returns, the candidate resigns and stands again.
            cooldown: seconds for which it lets others win after that.

        Raises:
            Exception: what the work raises, after the candidate has resigned and stopped.
        """
        check_cooldown(cooldown)
        self._start()
        while (term := self._await_elected(None)) is not None:
            if not term.begin_work():
                continue
            try:
                work(term)
            except LeadershipLost:
                if not term.lost:
                    self._work_ended(term, stop=True)
                    raise
                self._work_ended(term)
            except BaseException:
                self._work_ended(term, stop=True)
                raise
            else:
                self._work_ended(term, cooldown=cooldown)

    def _work_ended(self, term: Term, *, cooldown: float = 0.0, stop: bool = False) -> None:
        if self._store.forked:
            return
        if term.end_work():
            self._runner.post(on.Drained())
        if stop:
            self.stop()
        elif not term.lost:
            self.resign(cooldown)

    # -- leaving ---------------------------------------------------------------------------

    @uninterrupted
    def resign(self, cooldown: float = 1.0) -> bool:
        """Give up the term, so that another candidate is elected.

        Blocks until the store has confirmed it, at most for one ttl. Called from inside the
        work of `lead`, it does not wait: the release follows when the work has returned.

        Args:
            cooldown: seconds for which this candidate does not stand, so that others win.

        Returns:
            True once the store has confirmed; False at once when it does not lead.
        """
        self._store.guard()
        check_cooldown(cooldown)
        term = self.term
        if term is None:
            return False
        term.end()  # here and now: the caller must not find that it still leads
        self._runner.post(on.Resign(term.token, cooldown))
        if term.works_here:
            return False
        with self._changed:
            self._changed.wait_for(
                lambda: term.released is not None or self._engine.closed.is_set(), self.ttl
            )
            return bool(term.released)

    @uninterrupted
    def stop(self, timeout: float | None = None) -> bool:
        """Leave for good: release what is held, and end all iterators.

        May be called again, from any thread, from the loop over `run_for_election`, and from
        the work of `lead`, where it does not wait. A new run needs a new `Candidate`.

        Args:
            timeout: seconds to wait for the store's confirmation; None means up to one ttl.
                Without it in time, the release goes on in the background.

        Returns:
            Whether nothing of this candidate is left at the store.
        """
        self._store.fork_guard()
        timeout = check_timeout(timeout)
        term = self._tenure.last_term  # its work may go on although it is over
        self.begin_stop()
        if term is not None and term.works_here:
            return False
        return self.await_stop(self.ttl if timeout is None else timeout)

    def begin_stop(self) -> None:
        """Start to leave for good, without waiting."""
        with self._changed:
            self._tenure.stopping = True
            term = self._tenure.term
        if term is not None:
            term.end()  # here and now: the caller must not find that it still leads
        self._runner.post(on.Stop())

    def await_stop(self, timeout: float) -> bool:
        """Wait until it has left for good; False if the store has not confirmed that in time."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._has_left(Phase.STOPPED) or self._engine.closed.is_set(), timeout
            )
            left = self._has_left(Phase.STOPPED) or self._has_left(Phase.IDLE)
            return left and not self._runner.left

    def abandon(self) -> None:
        """Give up waiting for the store, and end all iterators."""
        self._runner.post(on.Abandon())
        self._tenure.changed()

    @uninterrupted
    def _leave(self) -> None:
        self._runner.post(on.Stop(for_good=False))
        with self._changed:
            self._changed.wait_for(
                lambda: self._has_left(Phase.IDLE) or self._has_left(Phase.STOPPED), self.ttl
            )

    def _has_left(self, phase: Phase) -> bool:
        return self._runner.phase is phase and not self._runner.loose

    @property
    def _ended(self) -> bool:
        return self._tenure.stopping or self._runner.phase is Phase.STOPPED

    def _start(self) -> None:
        self._store.guard()
        with self._changed:
            if self._ended:
                return
        self._engine.add(self)
        try:
            self._runner.post(on.Start())
        except StoreUnavailable:  # no thread can be started now: the next call tries again
            self._engine.remove(self)
            raise

    def __repr__(self) -> str:
        return f"<Candidate {self.value!r} for {self.key} on {self._store.url}>"


def check_candidacy(
    store: StoreHandle, key: str, value: str, ttl: float, margin: float | None
) -> str:
    """Check what a candidate is made with, and return its key, normalised; contacts nobody.

    Raises:
        ConfigurationError: the key, the value, the ttl or the margin cannot work.
        StoreClosed: the store is closed.
        ForkedStore: the store is that of the parent process.
    """
    engine = engine_of(store)
    if not isinstance(value, str):
        raise ConfigurationError(f"the value is a str, not {type(value).__name__}")
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ConfigurationError(f"the value has a lone surrogate: {value!r:.60}") from None
    if len(raw) > _LONGEST_VALUE:
        raise ConfigurationError(f"the value has {len(raw)} bytes, {_LONGEST_VALUE} are allowed")
    normalised = store.normalise(key)
    margin_for(check_ttl(ttl), margin, engine.least_margin)
    return normalised
