"""Injection of faults into the calls of a store: kinds of faults, and a plan of which call meets which."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, TypeVar

from ..backend.deadline import remaining_timeout
from ..backend.event_count import Flag
from ..backend.protocols import Closable, Session
from ..backend.threads import start_daemon
from ..backend.time_source import TimeSource
from ..errors import LeadershipError, StoreRefused, StoreUnavailable
from .faulty_watch import FaultyWatch

__all__ = ["CALLS", "Fault", "FaultInjector", "FaultPlan"]


class Fault(Enum):
    """A kind of fault: what happens to a call."""

    UNAVAILABLE = auto()
    """The request does not arrive, and the caller learns that at once."""
    REFUSED = auto()
    """The store denies permission."""
    REQUEST_LOST = auto()
    """The request does not arrive, and the caller waits until its timeout."""
    REPLY_LOST = auto()
    """The request takes effect, and the answer does not arrive."""
    LATE = auto()
    """The caller gets no answer, and the request takes effect `lateness` seconds later."""
    DELAYED = auto()
    """Request and answer come `lateness` seconds late; the answer is lost if the timeout is shorter."""
    DUPLICATED = auto()
    """The call is answered, and a copy of its request arrives `lateness` seconds later. Calls of more
    than one request are not copied: `enter`, `watch`, `watch_claim` and `watch_leader`."""
    EXPIRES = auto()
    """The store ends the session of the call, or all sessions if it has none, before it arrives."""
    HANGS = auto()
    """The call does not return, whatever its timeout; it takes effect at `heal`."""
    CRASHES = auto()
    """The plugin raises an unexpected error before the request."""
    CRASHES_AFTER = auto()
    """The plugin raises an unexpected error after the answer."""


CALLS: Mapping[str, str] = MappingProxyType(
    {
        "get": "a read of an entry",
        "list": "a read of all keys below a key",
        "put": "a write without a session",
        "put_claim": "a write with a session",
        "delete": "a deletion",
        "delete_tree": "a deletion of all keys below a key",
        "watch": "the start of a watch",
        "open_session": "the opening of a session",
        "renew": "a renewal of a session",
        "close_session": "the closing of a session",
        "enter": "a new claim in an election of the store's own",
        "status": "a query of a claim's status",
        "watch_claim": "the start of a claim's watch",
        "withdraw": "the withdrawal of a claim",
        "leader": "a read of the leader",
        "watch_leader": "the start of a watch of the leader",
    }
)
"""The names of calls. The last six are made if the store has an election of its own."""

_CUTTING = frozenset(Fault) - {Fault.DELAYED, Fault.DUPLICATED, Fault.EXPIRES}


class FaultPlan:
    """The plan of which of the next calls meet which faults; thread-safe.

    A call meets the next fault of its script, else the fault ordered for it or for all calls, else a
    random one.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._ordered: dict[str, tuple[Fault, int | None]] = {}
        self._scripts: dict[str, deque[Fault | None]] = {}
        self._chance: tuple[random.Random, float, Sequence[Fault], frozenset[str]] | None = None
        self._lock = threading.Lock()

    @property
    def cuts_off(self) -> bool:
        """Whether no request gets through, so that watches are silent, too."""
        fault, _ = self._ordered.get("*", (None, None))
        return fault in _CUTTING

    def order(self, fault: Fault, calls: Iterable[str], times: int | None) -> None:
        """See `FaultyStore.inject`."""
        with self._lock:
            for call in _known(calls) or ["*"]:
                self._ordered[call] = (fault, times)

    def script(self, call: str, faults: Iterable[Fault | None]) -> None:
        """See `FaultyStore.script`."""
        with self._lock:
            (name,) = _known([call])
            self._scripts.setdefault(name, deque()).extend(faults)

    def shuffle(
        self, seed: int, rate: float, faults: Iterable[Fault], calls: Iterable[str]
    ) -> None:
        """See `FaultyStore.shuffle`."""
        with self._lock:
            of_calls = frozenset(_known(calls)) or frozenset(CALLS)
            self._chance = random.Random(seed), rate, tuple(faults), of_calls

    def clear(self) -> None:
        """Let all calls succeed from now on."""
        with self._lock:
            self._ordered.clear()
            self._scripts.clear()
            self._chance = None

    def next_fault(self, call: str) -> Fault | None:
        """Count the call, and return its fault."""
        with self._lock:
            self.calls[call] += 1
            script = self._scripts.get(call)
            if script:
                return script.popleft()
            name = call if call in self._ordered else "*"
            if name in self._ordered:
                fault, times = self._ordered[name]
                if times == 1:
                    del self._ordered[name]
                elif times is not None:
                    self._ordered[name] = (fault, times - 1)
                return fault
            if self._chance is not None:
                rng, rate, faults, calls = self._chance
                if call in calls and rng.random() < rate:
                    return rng.choice(faults)
            return None


def _known(calls: Iterable[str]) -> list[str]:
    names = list(calls)
    unknown = [name for name in names if name not in CALLS]
    if unknown:
        raise ValueError(f"no such call: {', '.join(unknown)}; choose from {', '.join(CALLS)}")
    return names


T = TypeVar("T")

_USUAL = (Fault.UNAVAILABLE, Fault.REQUEST_LOST, Fault.REPLY_LOST, Fault.LATE, Fault.DELAYED)
_UNCOPIED = frozenset({"enter", "watch", "watch_claim", "watch_leader"})


class FaultInjector:
    """Base of `FaultyStore`: injects faults into its calls; thread-safe.

    Args:
        time_source: of the store; decides when what is late arrives.

    Attributes:
        time_source: as given.
        lateness: seconds; delay of the faults that come late.
    """

    def __init__(self, time_source: TimeSource | None = None) -> None:
        self.time_source: TimeSource = time_source or TimeSource()
        self.lateness: float = 0.2
        self._plan = FaultPlan()
        self._healed = Flag()
        self._closed = False
        self._watches: set[FaultyWatch] = set()

    def inject(self, fault: Fault, *calls: str, times: int | None = None) -> None:
        """Let calls meet a fault.

        Args:
            fault: the fault.
            calls: names of the calls, see `CALLS`. By default all calls: then watches are silent,
                too, and report once that the store is away.
            times: how many calls; all calls from now on if it is None.
        """
        self._plan.order(fault, calls, times)
        if self._plan.cuts_off:
            for watch in list(self._watches):
                watch.cut_off(StoreUnavailable("cut off"))

    def script(self, call: str, *faults: Fault | None) -> None:
        """Let the next calls of that name meet these faults, one after the other; None is no fault."""
        self._plan.script(call, faults)

    def shuffle(
        self,
        seed: int,
        rate: float = 0.1,
        faults: Iterable[Fault] = _USUAL,
        calls: Iterable[str] = (),
    ) -> None:
        """Let random calls meet random faults.

        Args:
            seed: the same one gives the same faults for the same calls in the same order.
            rate: the part of the calls that meet a fault, from 0 to 1.
            faults: which to choose from.
            calls: names of the calls; by default all.
        """
        self._plan.shuffle(seed, rate, faults, calls)

    def heal(self) -> None:
        """Let all calls succeed again, and hanging ones go on; watches report the present state."""
        self._plan.clear()
        healed, self._healed = self._healed, Flag()
        healed.set()
        if not self._closed:
            for watch in list(self._watches):
                watch.catch_up()

    @property
    def calls(self) -> Counter[str]:
        """The number of calls by name."""
        return self._plan.calls

    def invoke(self, call: str, request: Callable[[], T], session: Session | None = None) -> T:
        """Make a request, with the fault that is planned for it.

        Args:
            call: name of the call, see `CALLS`.
            request: makes the request.
            session: the session of the request, if it has one.
        """
        healed = self._healed
        cut = self._plan.cuts_off
        fault = self._plan.next_fault(call)
        if cut and not self._plan.cuts_off:
            for watch in list(self._watches):  # that was the last planned fault
                watch.catch_up()
        match fault:
            case Fault.UNAVAILABLE:
                raise StoreUnavailable(f"{call}: cut off")
            case Fault.REFUSED:
                raise StoreRefused(f"{call}: permission denied")
            case Fault.REQUEST_LOST:
                self._wait(healed, remaining_timeout())
                raise StoreUnavailable(f"{call}: no answer")
            case Fault.REPLY_LOST:
                request()
                raise StoreUnavailable(f"{call}: no answer")
            case Fault.LATE:
                self._later(request)
                raise StoreUnavailable(f"{call}: no answer")
            case Fault.DELAYED:
                if remaining_timeout() <= self.lateness:
                    self._later(request)
                    self._wait(healed, remaining_timeout())
                    raise StoreUnavailable(f"{call}: no answer")
                self._wait(healed, self.lateness)
            case Fault.DUPLICATED if call not in _UNCOPIED:
                answer = request()
                self._later(request)
                return answer
            case Fault.EXPIRES:
                self.end_session(session)
            case Fault.HANGS:
                self.time_source.wait_for(healed.changed, healed.is_set)
            case Fault.CRASHES:
                raise RuntimeError(f"a mistake in {call}")
            case Fault.CRASHES_AFTER:
                request()
                raise RuntimeError(f"a mistake in {call}")
        return request()

    def _wait(self, healed: Flag, seconds: float) -> None:
        if self.time_source.works_here:
            self.time_source.wait_for(healed.changed, healed.is_set, seconds)
        else:  # a request of the program's own: the time that it takes passes
            self.time_source.waiting_for_store(healed.changed, healed.is_set, seconds).block()

    def _later(self, request: Callable[[], object]) -> None:
        source, healed, seconds = self.time_source, self._healed, self.lateness
        # On a virtual clock, `heal` ends the wait, too: the test may let no more time pass.
        end = Flag() if source.suspends else healed
        work = source.begin_work()

        def run() -> None:
            with work:
                source.wait_for(end.changed, end.is_set, seconds)
                with suppress(LeadershipError):  # no caller waits for the answer
                    request()

        start_daemon(run, "leadership-late")

    def watching(
        self,
        call: str,
        on_change: Callable[[Any], None],
        arm: Callable[[Callable[[Any], None]], Closable],
        on_outage: Callable[[StoreUnavailable], Any] = lambda error: error,
    ) -> FaultyWatch:
        """Start a watch that is silent while the store is cut off.

        Args:
            call: name of the call.
            on_change: called with the reports of the inner watch.
            arm: starts the inner watch with the given callback.
            on_outage: makes the report of an outage for `on_change`.
        """
        watch = FaultyWatch(on_change, on_outage, lambda: self._plan.cuts_off)

        def request() -> FaultyWatch:
            self._watches.add(watch)
            watch.arm(arm, self._watches.discard)
            return watch

        try:
            return self.invoke(call, request)
        except BaseException:
            watch.close()  # the caller has not got it
            raise

    def end_session(self, session: Session | None) -> None:
        """End this session at the store, or all sessions if it is None."""
        raise NotImplementedError
