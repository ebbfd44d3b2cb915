"""Control of one candidate: how it starts, waits, works and leaves; the engine's side of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..backend.event_count import Wait, Waits, block_on
from ..backend.validation import safe_repr
from ..errors import ConfigurationError, LeadershipLost, NotElected, StoreUnavailable
from ..events import CandidateEvent, Elected, Lost, Resigned
from ..term import Term
from . import messages
from .callbacks import Call, Callbacks, Listener
from .candidate_debug_state import CandidateDebugState
from .candidate_driver import CandidateDriver
from .candidate_state import CandidateState, CurrentTerm
from .event_log import EventLog
from .gates import NO_GATES, Gates
from .messages import Phase
from .participant_observation import CandidateObservation
from .timing import first_answer_within

if TYPE_CHECKING:
    from ..backend.records import Record
    from .open_store import OpenStore

__all__ = ["CandidateControl"]

log: logging.Logger = logging.getLogger("leadership.candidate")

_NOT_READY = "the program is not ready"
_SCHEDULER_SECONDS = 0.2  # for which a caller that resigns waits for the scheduler's thread


class CandidateControl:
    """The operations of a `Candidate` or of one acquisition of a `Lock`, and its end by the engine.

    Any thread may call all of it, and a signal handler, too: see `backend.event_count`.

    Args:
        store: the open store.
        key: the election's key, normalised.
        value: what followers see.
        ttl: seconds, as requested.
        margin: seconds, or None.
        gates: the conditions under which the program wants to lead.
        once: whether it leaves for good when its first term ends.
    """

    def __init__(
        self,
        store: OpenStore,
        key: str,
        value: str,
        ttl: float,
        margin: float | None,
        *,
        gates: Gates = NO_GATES,
        once: bool = False,
    ) -> None:
        self.key: str = key
        self.value: str = value
        self.ttl: float = ttl
        self._started = self._warned = False
        self._store = store
        self._engine = engine = store.engine
        self._time_source = engine.context.time_source
        self._log = EventLog(log, key, store.url)
        self._observed = CandidateObservation(store.observed, key, value, ttl, lock=once)
        self.state: CandidateState = CandidateState(
            self._log, value, store.fork_guard, self._observed, self._time_source
        )
        self._changed = self.state.broadcaster.changed
        self._driver = CandidateDriver(
            engine,
            store.namespace.full(key),
            value.encode("utf-8", "surrogateescape"),
            ttl,
            margin,
            self.state,
            participant=self,
            gates=gates,
            once=once,
        )

    @property
    def forked(self) -> bool:
        """Whether this process is a forked child of the one that opened the store."""
        return self._store.forked

    def fork_guard(self) -> None:
        """Raise `ForkedStore` in a forked child."""
        self._store.fork_guard()

    def present(self) -> Iterator[Record]:
        """Records of its present state, for an observer that is registered now."""
        current = self.valid_term
        return self._observed.present(None if current is None else current.term)

    def debug_state(self) -> CandidateDebugState:
        """A snapshot for tests and for a debugger."""
        return self._driver.debug_state()

    @property
    def ended(self) -> bool:
        """Whether it has stopped, or is about to."""
        return self.state.stopping or self._driver.phase is Phase.STOPPED

    # -- campaigning -----------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._started

    def start(self) -> None:
        """Begin to campaign, if it does not; no effect once it has ended."""
        self._store.guard()
        self._started = True
        if self.ended:
            return
        self._engine.add(self)
        try:
            self._driver.post(messages.Start())
        except StoreUnavailable:  # no thread can be started now: the next call tries again
            self._engine.remove(self)
            raise

    def raise_if_ended(self) -> None:
        """Raise the error that has ended it; no effect while it can be started."""
        if not self.ended:
            return
        raise self.state.broadcaster.error or ConfigurationError(
            f"the candidate {safe_repr(self.value)} for {self.key} was stopped: "
            "a new run needs a new Candidate"
        )

    def warn_unless_started(self) -> None:
        """Log a warning, once, if it cannot lead because it was never started."""
        if self._started or self._warned or self.ended:
            return
        self._warned = True
        log.warning(
            "the candidate %s for %s on %s cannot lead before start(), run_for_election(), "
            "events(), wait_elected(), leading() or lead() is called",
            safe_repr(self.value),
            self.key,
            self._store.url,
            extra=self._log.fields("not_started", self.value),
        )

    def await_elected(self, timeout: float | None) -> CurrentTerm | None:
        """Wait until it leads; None if another candidate leads then, or if it has ended.

        Raises:
            NotElected: it is not elected in time, because the store does not answer.
        """
        return block_on(self.awaiting_election(timeout))

    def awaiting_election(self, timeout: float | None) -> Waits[CurrentTerm | None]:
        """`await_elected` as an operation."""
        begun = self._time_source.now()
        yield self._time_source.waiting_for_others(
            self._changed,
            lambda: self.valid_term or self.ended,
            timeout,
            held=lambda: self._driver.phase in (Phase.QUEUED, Phase.WAITING),
        )
        if timeout is not None:
            # The store has at least the time to say whether another candidate is ahead.
            yield self._time_source.waiting_for_store(
                self._changed,
                lambda: (
                    self.valid_term or self.ended or self._driver.answered or self._driver.held_back
                ),
                first_answer_within(self.ttl, timeout) - timeout,
            )
        if self.state.broadcaster.error is not None:
            raise self.state.broadcaster.error
        current = self.valid_term
        if current is None and timeout is not None and not self.ended:
            if self._driver.held_back:
                raise NotElected(f"{self._was_not_elected(timeout)}: {_NOT_READY}")
            # The store is to blame if it is down, or has not answered since then. Once it has
            # answered, what takes longer may be our own: a rate limiter, or busy threads. The answer
            # may be one to another session of the process, while this one is not open yet.
            others_heard = self._driver.awaits_session and self._engine.answered_at > begun
            heard = self._driver.answered or self._driver.enter_answered or others_heard
            fault = self.state.down
            if fault is None and not heard:
                fault = StoreUnavailable(f"{self._store.url} has not answered")
            if fault is not None:
                raise NotElected(f"{self._was_not_elected(timeout)}: {fault}") from fault
        return current

    def not_elected(self, timeout: float | None) -> NotElected:
        """Make the error of a wait that has ended without a term although the store answers."""
        why = "it was stopped" if self.ended else "another candidate was ahead"
        return NotElected(f"{self._was_not_elected(timeout)}: {why}")

    def not_leading(self) -> NotElected:
        """Make the error of work that is to begin at once although it does not lead."""
        down = self.state.down
        if self.ended:
            why = "it was stopped"
        elif not self._started:
            why = "it was not started"
        elif self._driver.held_back:
            why = _NOT_READY
        else:
            why = "it is not elected" if down is None else str(down)
        error = NotElected(
            f"{safe_repr(self.value)} does not lead {self.key} on {self._store.url}: {why}"
        )
        error.__cause__ = down
        return error

    def _was_not_elected(self, timeout: float | None) -> str:
        within = "" if timeout is None else f" within {timeout:g} s"
        return (
            f"{safe_repr(self.value)} was not elected for {self.key} on {self._store.url}{within}"
        )

    def loss_of(self, current: CurrentTerm) -> LeadershipLost | None:
        """The error for a block that has outlived its term; None if the term was not lost."""
        state = current.state
        if self._store.forked or not state.was_lost:
            return None
        lost = LeadershipLost(
            f"term {state.fence.token} of {self.key} on {self._store.url} was lost before its block "
            f"ended: {state.why_over}"
        )
        lost.__cause__ = self.state.broadcaster.error
        return lost

    @property
    def valid_term(self) -> CurrentTerm | None:
        """The term that it leads for at this moment, or None."""
        current = self.state.current
        return current if current is not None and current.state.is_valid() else None

    # -- callbacks -------------------------------------------------------------------------

    def listen(self, call_of: Callable[[CandidateEvent], Call | None]) -> Listener[CandidateEvent]:
        """Call a function of the user for the present state and for later events; from any thread."""
        self._store.fork_guard()
        broadcaster = self.state.broadcaster
        # Made once also where two threads come here at the same time.
        callbacks: Callbacks[CandidateEvent] = vars(self).setdefault(
            "_callbacks", Callbacks(broadcaster, self._log, self.value, self._engine.scheduler)
        )
        return callbacks.add(broadcaster.stream(), call_of)

    def call_for_terms(
        self,
        on_elected: Callable[[Term], object] | None,
        on_lost: Callable[[Lost | Resigned], object] | None,
    ) -> None:
        """Call the first one with each term that begins, and the other one with the end of each."""
        token: int | None = None

        def call_of(event: CandidateEvent) -> Call | None:
            nonlocal token
            if isinstance(event, Elected):
                token = event.term.token
                if on_elected is not None:
                    return Call("on_elected", on_elected, event.term, token)
            elif isinstance(event, Lost | Resigned) and on_lost is not None:
                return Call("on_lost", on_lost, event, token)
            return None

        if on_elected is not None or on_lost is not None:
            self.listen(call_of)

    # -- leaving ---------------------------------------------------------------------------

    def resign(self, cooldown: float) -> bool:
        """Give up the term; True once the store has confirmed."""
        return block_on(self.resigning(cooldown))

    def resigning(self, cooldown: float, *, works_here: bool | None = None) -> Waits[bool]:
        """`resign` as an operation.

        Args:
            cooldown: seconds.
            works_here: whether the caller is the work of the term, which it cannot wait for; None
                if the thread decides that.
        """
        current = self.valid_term
        if current is None:
            return False
        state = current.state
        here = state.works_here if works_here is None else works_here
        self._driver.post(messages.Resign(state.fence.token, cooldown))
        released = None if here else lambda: state.released is not None
        yield from self._awaiting_end(current, released)
        state.resign()  # at the latest: the caller must not find that it still leads
        if released is None or self._engine.is_interrupted_here():
            return False
        yield self._until_released(released, self.ttl)
        return bool(state.released)

    def stop(self, timeout: float | None) -> bool:
        """Leave for good; True once nothing is left at the store."""
        return block_on(self.stopping(timeout))

    def stopping(self, timeout: float | None, *, works_here: bool | None = None) -> Waits[bool]:
        """`stop` as an operation; `works_here` as for `resigning`."""
        current = self.state.current
        here = self.works_here if works_here is None else works_here
        if current is not None:
            self.state.stopping = True
            self._driver.post(messages.Stop())
            has_left = None if here else lambda: self._has_left(Phase.STOPPED)
            yield from self._awaiting_end(current, has_left)
        self.begin_stop()
        if here or self._engine.is_interrupted_here():
            return False
        return (yield from self.awaiting_stop(self.ttl if timeout is None else timeout))

    def _awaiting_end(
        self, current: CurrentTerm, is_left: Callable[[], bool] | None
    ) -> Waits[None]:
        """Let the scheduler end the term, which queues the event in the same step.

        It never blocks, so that takes a moment only, unless this is a signal handler that has
        interrupted what the scheduler waits for, for example a lock of the logging.

        A caller that waits for `is_left` next sleeps until that: to be woken by the end of the term
        would delay the thread that makes the release.
        """
        if not (self._engine.scheduler.runs_here or self._engine.is_interrupted_here()):
            event = current.state.over if is_left is None else self._changed
            yield Wait(event, is_left or (lambda: current.state.ended), _SCHEDULER_SECONDS)

    @property
    def works_here(self) -> bool:
        """Whether the calling thread works for the latest term, which may be over by now."""
        last = self.state.last
        return last is not None and last.state.works_here

    def begin_stop(self) -> None:
        """Start to leave for good, without waiting."""
        self.state.stopping = True
        current = self.state.current
        if current is not None:
            current.state.resign()  # at once: the caller must not find that it still leads
        self._changed.notify_all()
        self._driver.post(messages.Stop())

    def await_stop(self, timeout: float) -> bool:
        """Wait until it has left for good; False if the store has not confirmed that in time."""
        return block_on(self.awaiting_stop(timeout))

    def awaiting_stop(self, timeout: float) -> Waits[bool]:
        """`await_stop` as an operation."""
        yield self._until_released(lambda: self._has_left(Phase.STOPPED), timeout)
        left = self._has_left(Phase.STOPPED) or self._has_left(Phase.IDLE)
        return left and not self._driver.unconfirmed_claims

    def abandon(self) -> None:
        """Stop waiting for the store, and end all iterators."""
        self._driver.post(messages.Abandon())
        self.state.changed()

    def leave(self) -> None:
        """Leave the election, but not for good; waits for the store, at most for one ttl."""
        block_on(self.leaving())

    def leaving(self, *, works_here: bool | None = None) -> Waits[None]:
        """`leave` as an operation; `works_here` as for `resigning`."""
        self._driver.post(messages.Stop(for_good=False))
        if self.works_here if works_here is None else works_here:
            return  # the release waits for the work
        yield self._until_released(
            lambda: self._has_left(Phase.IDLE) or self._has_left(Phase.STOPPED), self.ttl
        )

    def _until_released(self, released: Callable[[], bool], seconds: float) -> Wait:
        return self._time_source.waiting_for_store(
            self._changed,
            lambda: released() or self._engine.closed.is_set(),
            seconds,
            held=lambda: self.state.working,
        )

    def _has_left(self, phase: Phase) -> bool:
        return self._driver.phase is phase and not self._driver.orphaned_claims

    # -- work ------------------------------------------------------------------------------

    def end_work(self, current: CurrentTerm, worker: object) -> None:
        """Note that this work for the term has ended, or has not even begun; from any thread."""
        if current.state.end_work(worker):
            self._driver.post(messages.WorkFinished())
        self._store.finish_close()
