"""The way to a store, on which calls meet faults."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from ..budget import remaining_budget
from ..errors import LeadershipError, StoreRefused, StoreUnavailable
from ..session import Closable, Session
from .faults import Fault, Plan
from .faulty_watch import FaultyWatch

__all__ = ["Link"]

T = TypeVar("T")

_USUAL = (Fault.UNAVAILABLE, Fault.REQUEST_LOST, Fault.REPLY_LOST, Fault.LATE, Fault.DELAYED)
_UNCOPIED = frozenset({"enter", "watch", "on_turn", "watch_leader"})


class Link:
    """Base of `FaultyStore`: what becomes of calls.

    Attributes:
        lateness: seconds; of the faults that come late.
    """

    def __init__(self) -> None:
        self.lateness = 0.2
        self._plan = Plan()
        self._healed = threading.Event()
        self._closed = False
        self._watches: set[FaultyWatch] = set()

    def inject(self, fault: Fault, *calls: str, times: int | None = None) -> None:
        """Let calls fail.

        Args:
            fault: what becomes of them.
            calls: which, see `CALLS`. All of them if none is named: then watches are silent,
                too, and report once that the store is away.
            times: how many; from now on all of them if it is None.
        """
        self._plan.order(fault, calls, times)
        if self._plan.cuts_off:
            for watch in list(self._watches):
                watch.cut_off(StoreUnavailable("cut off"))

    def script(self, call: str, *faults: Fault | None) -> None:
        """Let the next calls of that name meet these faults, one after the other; None is none."""
        self._plan.script(call, faults)

    def shuffle(
        self,
        seed: int,
        rate: float = 0.1,
        faults: Iterable[Fault] = _USUAL,
        calls: Iterable[str] = (),
    ) -> None:
        """Let calls fail at random.

        Args:
            seed: the same one gives the same faults for the same calls in the same order.
            rate: how many of the calls, from 0 to 1.
            faults: which to choose from.
            calls: which may fail; all if none is named.
        """
        self._plan.shuffle(seed, rate, faults, calls)

    def heal(self) -> None:
        """Let everything work again, and what hangs go on; watches report the present state."""
        self._plan.clear()
        healed, self._healed = self._healed, threading.Event()
        healed.set()
        if not self._closed:
            for watch in list(self._watches):
                watch.catch_up()

    @property
    def calls(self) -> Counter[str]:
        """How often each call was made."""
        return self._plan.calls

    def through(self, call: str, request: Callable[[], T], session: Session | None = None) -> T:
        """Make a request as the faults of the moment have it.

        Args:
            call: its name, see `CALLS`.
            request: makes it.
            session: the one that it is about, if it is about one.
        """
        healed = self._healed
        cut = self._plan.cuts_off
        fault = self._plan.next_fault(call)
        if cut and not self._plan.cuts_off:
            for watch in list(self._watches):  # that was the last time
                watch.catch_up()
        match fault:
            case Fault.UNAVAILABLE:
                raise StoreUnavailable(f"{call}: cut off")
            case Fault.REFUSED:
                raise StoreRefused(f"{call}: permission denied")
            case Fault.REQUEST_LOST:
                healed.wait(remaining_budget())
                raise StoreUnavailable(f"{call}: no answer")
            case Fault.REPLY_LOST:
                request()
                raise StoreUnavailable(f"{call}: no answer")
            case Fault.LATE:
                self._later(request)
                raise StoreUnavailable(f"{call}: no answer")
            case Fault.DELAYED:
                if remaining_budget() <= self.lateness:
                    self._later(request)
                    healed.wait(remaining_budget())
                    raise StoreUnavailable(f"{call}: no answer")
                healed.wait(self.lateness)
            case Fault.DUPLICATED if call not in _UNCOPIED:
                answer = request()
                self._later(request)
                return answer
            case Fault.EXPIRES:
                self.end_session(session)
            case Fault.HANGS:
                healed.wait()
            case Fault.CRASHES:
                raise RuntimeError(f"a mistake in {call}")
            case Fault.CRASHES_AFTER:
                request()
                raise RuntimeError(f"a mistake in {call}")
        return request()

    def _later(self, request: Callable[[], object]) -> None:
        timer = threading.Timer(self.lateness, _quietly, [request])
        timer.daemon = True
        timer.start()

    def watching(
        self,
        call: str,
        on_change: Callable[[Any], None],
        arm: Callable[[Callable[[Any], None]], Closable],
        on_outage: Callable[[StoreUnavailable], Any] = lambda error: error,
    ) -> FaultyWatch:
        """Arm a watch that is silent while the store is cut off.

        Args:
            call: its name.
            on_change: gets what the inner watch reports.
            arm: starts the inner one with the callback that it is given.
            on_outage: what `on_change` gets when the store is cut off.
        """
        watch = FaultyWatch(on_change, on_outage, lambda: self._plan.cuts_off)

        def request() -> FaultyWatch:
            self._watches.add(watch)
            watch.arm(arm, self._watches.discard)
            return watch

        try:
            return self.through(call, request)
        except BaseException:
            watch.close()  # nobody has been given it
            raise

    def end_session(self, session: Session | None) -> None:
        """End it at the store, or all of them if it is None."""
        raise NotImplementedError


def _quietly(request: Callable[[], object]) -> None:
    with suppress(LeadershipError):  # nobody waits for the answer
        request()
