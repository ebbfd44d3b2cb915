"""A candidate as its engine knows it: how it starts, waits and leaves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from . import clock
from .engine.candidate_runner import CandidateRunner
from .errors import ConfigurationError, LeadershipLost, NotElected, StoreUnavailable
from .log_records import EventLog
from .machine import Phase, happenings as on
from .tenure import Reign, Tenure
from .timing import first_answer_within, shown

if TYPE_CHECKING:
    from .internals import StoreInternals

__all__ = ["Candidacy"]

log = logging.getLogger("leadership.candidate")

_SCHEDULER_SECONDS = 0.2  # for which a caller that resigns waits for the scheduler's thread


class Candidacy:
    """What a `Candidate` does, and what only the engine may call of it.

    Any thread, and a signal handler, may call all of it: see `eventcount`.

    Args:
        store: what is behind the user's.
        key: the election's key, normalised.
        value: what followers see.
        ttl: seconds.
        margin: seconds, or None.
        once: whether it leaves for good when its first term ends.
    """

    def __init__(
        self,
        store: StoreInternals,
        key: str,
        value: str,
        ttl: float,
        margin: float | None,
        *,
        once: bool,
    ) -> None:
        self.key, self.value, self.ttl = key, value, ttl
        self._started = self._warned = False
        self._store = store
        self._engine = engine = store.engine
        self._log = EventLog(log, key, store.url)
        self.tenure = Tenure(self._log, value, store.fork_guard)
        self._changed = self.tenure.announcer.changed
        self._runner = CandidateRunner(
            engine,
            store.full_key(key),
            value.encode("utf-8", "surrogateescape"),
            ttl,
            margin,
            self.tenure,
            on_gone=lambda: engine.remove(self),
            once=once,
        )

    @property
    def ended(self) -> bool:
        """Whether it has stopped, or is about to."""
        return self.tenure.stopping or self._runner.phase is Phase.STOPPED

    # -- standing --------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to campaign, if it does not; nothing once it has ended."""
        self._store.guard()
        self._started = True
        if self.ended:
            return
        self._engine.add(self)
        try:
            self._runner.post(on.Start())
        except StoreUnavailable:  # no thread can be started now: the next call tries again
            self._engine.remove(self)
            raise

    def raise_if_ended(self) -> None:
        """Raise what has ended it; nothing while it can be started."""
        if not self.ended:
            return
        raise self.tenure.announcer.error or ConfigurationError(
            f"the candidate {shown(self.value)} for {self.key} was stopped: "
            "a new run needs a new Candidate"
        )

    def warn_unless_started(self) -> None:
        """Log a warning, once, if it cannot lead because nothing has started it."""
        if self._started or self._warned or self.ended:
            return
        self._warned = True
        log.warning(
            "the candidate %s for %s on %s cannot lead before start(), run_for_election(), "
            "events(), wait_elected(), leading() or lead() is called",
            shown(self.value),
            self.key,
            self._store.url,
            extra=self._log.fields("not_started", self.value),
        )

    def await_elected(self, timeout: float | None) -> Reign | None:
        """Wait until it leads; None if another one leads then, or if it has ended.

        Raises:
            NotElected: it is not elected in time, and the store is to blame.
        """
        begun = clock.now()
        self._changed.wait_for(lambda: self.reign or self.ended, timeout)
        if timeout is not None:
            # The store has at least the time to say whether another one is ahead.
            self._changed.wait_for(
                lambda: self.reign or self.ended or self._runner.answered,
                first_answer_within(self.ttl, timeout) - timeout,
            )
        if self.tenure.announcer.error is not None:
            raise self.tenure.announcer.error
        reign = self.reign
        if reign is None and timeout is not None and not self.ended:
            fault = self._fault_of_the_store(begun)
            if fault is not None:
                raise NotElected(f"{self._was_not_elected(timeout)}: {fault}") from fault
        return reign

    def not_elected(self, timeout: float | None) -> NotElected:
        """The error of a wait that has ended without a term, where the store is not to blame."""
        why = "it was stopped" if self.ended else "another candidate was ahead"
        return NotElected(f"{self._was_not_elected(timeout)}: {why}")

    def _was_not_elected(self, timeout: float | None) -> str:
        within = "" if timeout is None else f" within {timeout:g} s"
        return f"{shown(self.value)} was not elected for {self.key} on {self._store.url}{within}"

    def _fault_of_the_store(self, begun: float) -> StoreUnavailable | None:
        """What the store is to blame for; None if it has answered since then, and answers still."""
        # Once it has answered, what takes longer may be our own: a rate limiter, or busy threads. The
        # answer may be one to another session of the process, while this one is not open yet.
        others_heard = self._runner.waits_for_a_session and self._engine.answered_at > begun
        heard = self._runner.answered or self._runner.heard or others_heard
        if self.tenure.down is None and not heard:
            return StoreUnavailable(f"{self._store.url} has not answered")
        return self.tenure.down

    def loss_of(self, reign: Reign) -> LeadershipLost | None:
        """The error for a block that has outlived its term; None if it has not been lost."""
        state = reign.state
        if self._store.forked or not state.was_lost:
            return None
        lost = LeadershipLost(
            f"term {state.token} of {self.key} on {self._store.url} was lost before its block "
            f"ended: {state.why_over}"
        )
        lost.__cause__ = self.tenure.announcer.error
        return lost

    @property
    def reign(self) -> Reign | None:
        """The term that it leads for at this moment, or None."""
        reign = self.tenure.reign
        return reign if reign is not None and reign.state.stands() else None

    # -- leaving ---------------------------------------------------------------------------

    def resign(self, cooldown: float) -> bool:
        """Give up the term; True once the store has confirmed."""
        reign = self.reign
        if reign is None:
            return False
        state = reign.state
        self._runner.post(on.Resign(state.token, cooldown))
        self._await_end(reign)
        state.resign()  # at the latest: the caller must not find that it still leads
        if state.works_here or self._engine.is_held_up_here():
            return False
        self._changed.wait_for(
            lambda: state.released is not None or self._engine.closed.is_set(), self.ttl
        )
        return bool(state.released)

    def stop(self, timeout: float | None) -> bool:
        """Leave for good; True once nothing is left at the store."""
        reign = self.tenure.reign
        if reign is not None:
            self.tenure.stopping = True
            self._runner.post(on.Stop())
            self._await_end(reign)
        self.begin_stop()
        if self.works_here or self._engine.is_held_up_here():
            return False
        return self.await_stop(self.ttl if timeout is None else timeout)

    def _await_end(self, reign: Reign) -> None:
        """Let the scheduler end the term, which queues the event in the same step.

        It never blocks, so that takes a moment only, unless this is a signal handler that has
        interrupted what the scheduler waits for, a lock of the logging, say.
        """
        engine = self._engine
        if not (engine.scheduler.runs_here or engine.is_held_up_here()):
            state = reign.state
            state.over.wait_for(lambda: state.ended, _SCHEDULER_SECONDS)

    @property
    def works_here(self) -> bool:
        """Whether the calling thread works for the latest term, which may be over by now."""
        last = self.tenure.last
        return last is not None and last.state.works_here

    def begin_stop(self) -> None:
        """Start to leave for good, without waiting."""
        self.tenure.stopping = True
        reign = self.tenure.reign
        if reign is not None:
            reign.state.resign()  # here and now: the caller must not find that it still leads
        self._changed.notify_all()
        self._runner.post(on.Stop())

    def await_stop(self, timeout: float) -> bool:
        """Wait until it has left for good; False if the store has not confirmed that in time."""
        self._changed.wait_for(
            lambda: self._has_left(Phase.STOPPED) or self._engine.closed.is_set(), timeout
        )
        left = self._has_left(Phase.STOPPED) or self._has_left(Phase.IDLE)
        return left and not self._runner.left

    def abandon(self) -> None:
        """Give up waiting for the store, and end all iterators."""
        self._runner.post(on.Abandon())
        self.tenure.changed()

    def leave(self) -> None:
        """Leave the election, but not for good; waits for the store, at most for one ttl."""
        self._runner.post(on.Stop(for_good=False))
        self._changed.wait_for(
            lambda: self._has_left(Phase.IDLE) or self._has_left(Phase.STOPPED), self.ttl
        )

    def _has_left(self, phase: Phase) -> bool:
        return self._runner.phase is phase and not self._runner.loose

    # -- work ------------------------------------------------------------------------------

    def end_work(self, reign: Reign) -> None:
        """This thread's work for the term has ended, or has not even begun."""
        if reign.state.end_work():
            self._runner.post(on.Drained())
        self._store.finish_close()
