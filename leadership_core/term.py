"""Term: one period of leadership of a candidate, and its state, which the engine ends."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from .backend import clock
from .backend.event_count import EventCount, Waits, block_on, snapshot
from .backend.threads import this_thread
from .backend.time_source import TimeSource
from .backend.validation import check_timeout, is_finite_number, safe_repr
from .errors import ConfigurationError, LeadershipLost, StoreUnavailable

if TYPE_CHECKING:
    from .backend.fence import Fence

__all__ = ["LostReason", "Term", "TermState"]


class LostReason(StrEnum):
    """Why a term ended although its leader did not end it."""

    EXPIRED = "expired"
    """No renewal was acknowledged in time: a pause, a partition, or the store was away."""
    SESSION_LOST = "session_lost"
    """The store has ended the session."""
    DELETED = "deleted"
    """The claim was deleted or released at the store, by an operator for example."""
    OVERWRITTEN = "overwritten"
    """The claim was overwritten at the store."""
    WATCHDOG = "watchdog"
    """The work has called neither `term.check()` nor `term.heartbeat()` for too long."""


class Term:
    """One period of leadership, from `Elected` to `Lost` or `Resigned`.

    Whether it is valid is computed from the clock at each call: after a pause of the process that
    outlasted the lease, the very first call says that it is over. All methods may be called from
    any thread, and from a signal handler.

    Example:
        >>> with Candidate(store, "service/api", "node-1", ttl=15).leading() as term:
        ...     term.check()                   # raises LeadershipLost once it is over
        ...     term.ensure(seconds=5)         # renews now unless 5 s are left
        ...     (term.lost, term.remaining() > 5, str(term.fence))
        (False, True, '1:service/api')
    """

    __slots__ = ("__weakref__", "_state")

    def __init__(self, state: TermState) -> None:
        self._state = state

    @property
    def key(self) -> str:
        """The election's key, without the prefix of the store's URL."""
        return self._state.fence.key

    @property
    def token(self) -> int:
        """The fencing token: larger than that of every earlier term of this election."""
        return self._state.fence.token

    @property
    def lost(self) -> bool:
        """Whether the term is over at this moment, for whatever reason."""
        return not self._state.is_valid()

    def remaining(self) -> float:
        """Seconds for which the term is valid even if the store never answers again."""
        state = self._state
        return 0.0 if state.ended else state.lease.remaining()

    def check(self) -> None:
        """Return if the term is valid at this moment; does not block. A sign of life, as `heartbeat`.

        Raises:
            LeadershipLost: it is over; the message says why.
        """
        state = self._state
        if state.watched:
            state.live_on()
        if state.ended or state.lease.check() is not None:  # `is_valid`, inlined
            why = state.why_over
            raise LeadershipLost(f"term {self.token} of {self.key} is over: {why}")

    def heartbeat(self) -> None:
        """Give a sign of life to the `watchdog` of the candidate; raises nothing, and does not block.

        For work that does not want to stop at this point; `check` is a sign of life, too.
        """
        if self._state.watched:
            self._state.live_on()

    def ensure(self, seconds: float) -> None:
        """Make sure that the term is valid for that long: renew now unless that much is left.

        Blocks for one renewal, for a third of the ttl at most.

        Args:
            seconds: how long the work ahead takes; less than the ttl less the margin.

        Raises:
            LeadershipLost: the term is over.
            StoreUnavailable: no renewal was acknowledged in time; the term is still valid.
            ConfigurationError: a lease of this ttl is never valid for that long.
        """
        block_on(self._ensuring(seconds))

    def _ensuring(self, seconds: float) -> Waits[None]:
        """`ensure` as an operation."""
        if not is_finite_number(seconds) or seconds < 0:
            raise ConfigurationError(
                f"ensure() takes a number of seconds, 0 or more, not {safe_repr(seconds)}"
            )
        self.check()
        lease = self._state.lease
        most = lease.max_validity
        if seconds >= most:
            raise ConfigurationError(
                f"{seconds:g} s cannot be ensured: "
                f"a ttl of {lease.effective_ttl:g} s leaves less than {most:g} s"
            )
        if self.remaining() >= seconds:
            return
        yield from self._state.renew(seconds, lease.request_limit())
        self.check()
        if self.remaining() < seconds:
            raise StoreUnavailable(
                f"no renewal was acknowledged: {self.remaining():.1f} s of {seconds:g} s are left"
            )

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Block until the term is over, or `timeout` seconds have passed (None: without a limit).

        Returns:
            Whether the term is over.

        Raises:
            ConfigurationError: the timeout is not a number of seconds, 0 or more.
        """
        return block_on(self._waiting_lost(timeout))

    def _waiting_lost(self, timeout: float | None) -> Waits[bool]:
        """`wait_lost` as an operation."""
        timeout = check_timeout(timeout)
        over, source = self._state.over, self._state.time_source
        until = None if timeout is None else source.now() + timeout
        limit = None if timeout is None else clock.now() + timeout
        while not self.lost:
            left = self.remaining()
            if until is not None and limit is not None:
                left = min(left, until - source.now(), limit - clock.now())
                if left <= 0:
                    break
            yield source.waiting_for_others(over, lambda: self.lost, left)
        return self.lost

    @property
    def fence(self) -> Fence:
        """The term as a value for `put(..., fence=...)`; `str(term.fence)` for another process."""
        return self._state.fence

    def __repr__(self) -> str:
        return f"<Term {self.token} of {self.key}, {'over' if self.lost else 'valid'}>"


class TermLease(Protocol):
    """What a term reads of the engine's `Lease`; as a protocol, so that the user API imports no engine."""

    @property
    def effective_ttl(self) -> float: ...

    @property
    def ended_reason(self) -> LostReason | None: ...

    @property
    def max_validity(self) -> float: ...

    def check(self) -> LostReason | None: ...

    def remaining(self) -> float: ...

    def request_limit(self) -> float: ...


class TermState:
    """The state of one term; any thread, and a signal handler, may call all of it.

    Attributes:
        fence: the election's key, without the prefix of the store's URL, and the fencing token.
        lease: the lease that limits it.
        renew: `SessionKeeper.renew_now`.
        time_source: the store's.
        over: notified when the term has ended.
        ended: the candidate has ended it, or the engine has; its lease may go on.
        resigned: the program has ended it, by `resign`, `stop`, `close`, or by returning.
        reason: why it was lost, if the engine knows.
        watched: whether there is a watchdog; without one, signs of life are not recorded.
        alive_at: the time of the clock of the last sign of life of its work, or of its beginning.
        released: whether the store has confirmed the release; None while that is open.
    """

    __slots__ = (
        "_drained",
        "_ended_by_engine",
        "_workers",
        "alive_at",
        "ended",
        "fence",
        "lease",
        "over",
        "reason",
        "released",
        "renew",
        "resigned",
        "time_source",
        "watched",
    )

    def __init__(
        self,
        fence: Fence,
        lease: TermLease,
        renew: Callable[[float, float], Waits[None]],
        time_source: TimeSource,
    ) -> None:
        self.fence: Fence = fence
        self.lease: TermLease = lease
        self.renew: Callable[[float, float], Waits[None]] = renew
        self.time_source: TimeSource = time_source
        self.over: EventCount = EventCount()
        self.ended: bool = False
        self.resigned: bool = False
        self.reason: LostReason | None = None
        self.released: bool | None = None
        self.watched: bool = False
        self.alive_at: float = time_source.now()
        self._workers: dict[object, object] = {}  # the thread in which each has begun
        self._ended_by_engine = False
        self._drained = [None]  # the one thread that pops it reports that no work is left

    def live_on(self) -> None:
        """Note a sign of life of its work."""
        self.alive_at = self.time_source.now()

    def is_valid(self) -> bool:
        """Whether the term is valid at this moment: not ended, and its lease not expired."""
        return not self.ended and self.lease.check() is None

    def resign(self) -> None:
        """End it at once, by a call of the program; the claim is withdrawn later."""
        if self.is_valid():
            self.resigned = True
        self.ended = True
        self.over.notify_all()

    def end(self, reason: LostReason | None, *, resigned: bool = False) -> bool:
        """End it as the engine, for this reason; True if work of the term is still going on."""
        if not self.ended:
            self.reason = reason
            self.resigned = resigned
        self.ended = True
        self._ended_by_engine = True
        self.over.notify_all()
        return not self._is_drained()

    @property
    def was_lost(self) -> bool:
        """Whether it is over for another reason than a call of the program."""
        return not self.resigned and not self.is_valid()

    @property
    def why_over(self) -> str:
        """Why it is over, for messages."""
        if self.resigned:
            return "resigned"
        return str(self.reason or self.lease.ended_reason or "ended")

    # -- work --------------------------------------------------------------------------------

    def begin_work(self, worker: object) -> bool:
        """Note that work for the term begins; False if it is over already.

        After a False the caller calls `end_work`, too.

        Args:
            worker: identifies the work until `end_work`, in whatever thread that is called. It is an
                object of its own, compared by identity, so that work may be nested and overlap.
        """
        self._workers[worker] = this_thread.mark
        return self.is_valid()

    def end_work(self, worker: object) -> bool:
        """Note that this work has ended; True if the caller must report that none is left."""
        self._workers.pop(worker, None)
        return self._ended_by_engine and self._is_drained()

    @property
    def working(self) -> bool:
        """Whether any work for the term is going on."""
        return bool(self._workers)

    @property
    def works_here(self) -> bool:
        """Whether work that has begun in the calling thread is going on, so that it cannot wait for it."""
        return bool(self._workers) and this_thread.mark in snapshot(self._workers.values())

    def _is_drained(self) -> bool:
        if self._workers:
            return False
        try:
            self._drained.pop()
        except IndexError:
            return False  # another thread has reported it
        return True
