"""A candidate: what a program holds that wants to lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .callbacks import check_callback, refuse_unrun
from .candidacy import Candidacy
from .errors import ConfigurationError, LeadershipLost
from .events import CandidateEvent
from .internals import internals
from .shutdown import uninterrupted
from .tenure import Reign, Verdicts
from .term import Term
from .timing import check_cooldown, check_timeout, check_ttl, margin_for

if TYPE_CHECKING:
    from .handle import StoreHandle

__all__ = ["Candidate"]

_LONGEST_VALUE = 64 * 1024


class Candidate:
    """Stands for election on a store, again and again, until it is stopped.

    The constructor contacts nobody; the first of `start`, `run_for_election`, `events`,
    `wait_elected`, `leading` and `lead` starts the campaign. As a context manager it is started
    at the beginning and stopped at the end. All methods may be called from any thread, and from
    a signal handler.

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

    Example:
        >>> with Candidate(store, "service/api", "node-1") as candidate:
        ...     while True:
        ...         serve(as_leader=candidate.is_leader)
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
        key, ttl = check_candidacy(store, key, value, ttl, margin), float(ttl)
        self._store = internals(store)
        self._candidacy = Candidacy(self._store, key, value, ttl, margin, once=self._terms_once)
        self._tenure = self._candidacy.tenure

    @property
    def key(self) -> str:
        """The election's key, normalised."""
        return self._candidacy.key

    @property
    def value(self) -> str:
        """What followers see while this candidate leads."""
        return self._candidacy.value

    @property
    def ttl(self) -> float:
        """Seconds, as asked for; the store may grant another one."""
        return self._candidacy.ttl

    # -- what it is ------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether this candidate leads at this moment: computed from the clock, never stored.

        As long as nothing has started the candidate it cannot lead; the first time that this is
        asked then, a warning is logged.
        """
        reign = self._tenure.reign
        if reign is None:
            self._candidacy.warn_unless_started()
            return False
        return reign.state.stands()

    @property
    def term(self) -> Term | None:
        """The term that it leads for at this moment, or None; see `is_leader`."""
        reign = self._tenure.reign
        if reign is None:
            self._candidacy.warn_unless_started()
            return None
        return reign.term if reign.state.stands() else None

    # -- standing --------------------------------------------------------------------------

    def start(self) -> None:
        """Start to campaign; does not block, and does nothing if it campaigns already.

        Raises:
            ConfigurationError: it was stopped, or the store has refused what it is to do.
            StoreRefused: it has ended because the store cannot be used as configured.
            StoreClosed: the store is closed.
            ForkedStore: the store is that of the parent process.
        """
        self._store.guard()
        self._candidacy.raise_if_ended()
        self._candidacy.start()

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
        verdicts = Verdicts(self._tenure, lambda: self._candidacy.ended)
        self._candidacy.start()
        return verdicts

    def events(self) -> Iterator[CandidateEvent]:
        """Start to campaign, and return an iterator over all that happens, as typed events.

        It begins with where the candidate stands, and ends after `Stopped`.
        """
        self._store.guard()
        story = self._tenure.announcer.story()
        self._candidacy.start()
        return story

    def wait_elected(self, timeout: float | None = None) -> Term | None:
        """Start to campaign, and block until elected; returns the term.

        Args:
            timeout: seconds to wait; None waits without a limit. With 0 the store is asked once:
                the call returns as soon as the store has answered, at most a third of the ttl.

        Returns:
            None if it is not elected in time although the store answers, because another candidate
            leads; or if it was stopped.

        Raises:
            NotElected: it is not elected in time because the store cannot be reached, or has not
                answered; its `__cause__` is the `StoreUnavailable`.
            StoreRefused: the store cannot be used as configured, and has never worked.
            ConfigurationError: the store refuses the ttl.
        """
        timeout = check_timeout(timeout)
        self._candidacy.start()
        reign = self._candidacy.await_elected(timeout)
        return None if reign is None else reign.term

    @contextmanager
    def leading(self, timeout: float | None = None) -> Iterator[Term]:
        """Stand while entered: yields the term once elected, leaves the election at the exit.

        Args:
            timeout: seconds to wait for the election, as for `wait_elected`.

        Raises:
            NotElected: it was not elected in time; where the store is to blame for that, the
                `StoreUnavailable` is its `__cause__`.
            LeadershipLost: at the end of a block that has ended normally, when the term had been
                lost by then: what the block has done may have collided with the next leader. Not
                when the program itself has ended the term (`resign`, `stop`, `store.close`).
        """
        timeout = check_timeout(timeout)
        try:
            self._candidacy.start()
            reign = self._candidacy.await_elected(timeout)
            if reign is None:
                raise self._candidacy.not_elected(timeout)
            yield reign.term
            lost = self._candidacy.loss_of(reign)
        finally:
            if not self._store.forked:
                self._leave()
        if lost is not None:
            raise lost

    def lead(self, work: Callable[[Term], object], *, cooldown: float = 1.0) -> None:
        """Call `work(term)` each time it is elected, in this thread, until it is stopped.

        The claim is released only after the work has returned: until then nobody else is
        elected, at most for the rest of the lease. Work that runs long calls `term.check()`,
        or looks at `term.lost`; leaving by the `LeadershipLost` of its own term is a return.

        Args:
            work: what the leader does: an ordinary function, no coroutine function. When it
                returns, the candidate resigns and stands again.
            cooldown: seconds for which it lets others win after that.

        Raises:
            ConfigurationError: the work cannot be called with a term, or makes a coroutine that
                nothing would await.
            Exception: what the work raises, after the candidate has resigned and stopped.
        """
        check_callback("work", work, "term")
        check_cooldown(cooldown)
        self._candidacy.start()
        while (reign := self._candidacy.await_elected(None)) is not None:
            term = reign.term
            if not reign.state.begin_work():
                self._candidacy.end_work(reign)
                continue
            try:
                refuse_unrun("work", work, work(term))
            except LeadershipLost:
                if not term.lost:
                    self._work_ended(reign, stop=True)
                    raise
                self._work_ended(reign)
            except BaseException:
                self._work_ended(reign, stop=True)
                raise
            else:
                self._work_ended(reign, cooldown=cooldown)

    def _work_ended(self, reign: Reign, *, cooldown: float = 0.0, stop: bool = False) -> None:
        if self._store.forked:
            return
        self._candidacy.end_work(reign)
        if stop:
            self.stop()
        elif not reign.term.lost:
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
        return self._candidacy.resign(cooldown)

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
        return self._candidacy.stop(check_timeout(timeout))

    @uninterrupted
    def _leave(self) -> None:
        self._candidacy.leave()

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
    inner = internals(store)
    inner.guard()
    if not isinstance(value, str):
        raise ConfigurationError(f"the value is a str, not {type(value).__name__}")
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ConfigurationError(f"the value has a lone surrogate: {value!r:.60}") from None
    if len(raw) > _LONGEST_VALUE:
        raise ConfigurationError(f"the value has {len(raw)} bytes, {_LONGEST_VALUE} are allowed")
    normalised = inner.normalise(key)
    margin_for(check_ttl(ttl), margin, inner.engine.least_margin)
    return normalised
