"""What can become of a call into a store, and which call it becomes of."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from types import MappingProxyType

__all__ = ["CALLS", "Fault", "Plan"]


class Fault(Enum):
    """What becomes of a call."""

    UNAVAILABLE = auto()
    """Nothing arrives, and that is known at once."""
    REFUSED = auto()
    """As if permission were denied."""
    REQUEST_LOST = auto()
    """Nothing arrives, and the caller waits as long as it may."""
    REPLY_LOST = auto()
    """It takes effect, and the answer does not arrive."""
    LATE = auto()
    """There is no answer, and it takes effect `lateness` seconds afterwards."""
    DELAYED = auto()
    """It takes effect, and is answered, `lateness` seconds late, or lost if it may not wait so long."""
    DUPLICATED = auto()
    """It is answered, and a copy of it arrives `lateness` seconds later. No copy of `enter`,
    `watch`, `on_turn` or `watch_leader` is made, which are more than one request."""
    EXPIRES = auto()
    """The store ends the session that it is about, or else all of them, before it arrives."""
    HANGS = auto()
    """It does not return, whatever the budget; it takes effect at `heal`."""
    CRASHES = auto()
    """The plugin has a mistake in it, before the request."""
    CRASHES_AFTER = auto()
    """And after the answer."""


CALLS: Mapping[str, str] = MappingProxyType(
    {
        "get": "a read of an entry",
        "list": "a read of what is below a key",
        "put": "a write without a session",
        "put_claim": "a write with one",
        "delete": "a deletion",
        "delete_tree": "a deletion of what is below a key",
        "watch": "the arming of a watch",
        "open_session": "the opening of a session",
        "renew": "its renewal",
        "close_session": "its end",
        "enter": "the entering of a race of the store's own",
        "standing": "the question how one stands there",
        "on_turn": "the arming of its watch",
        "withdraw": "the leaving of it",
        "leader": "a read of who leads it",
        "watch_leader": "the arming of the watch of that",
    }
)
"""The names of calls. The last six are made where the store brings an election of its own."""

_CUTTING = frozenset(Fault) - {Fault.DELAYED, Fault.DUPLICATED, Fault.EXPIRES}


class Plan:
    """Which of the next calls meet which faults; thread-safe.

    A call first meets what a script has for it, then what was ordered for it or for all calls,
    then what chance brings.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._ordered: dict[str, tuple[Fault, int | None]] = {}
        self._scripts: dict[str, deque[Fault | None]] = {}
        self._chance: tuple[random.Random, float, Sequence[Fault], frozenset[str]] | None = None
        self._lock = threading.Lock()

    @property
    def cuts_off(self) -> bool:
        """Whether nothing at all gets through, so that watches are silent, too."""
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
        """From now on all is well."""
        with self._lock:
            self._ordered.clear()
            self._scripts.clear()
            self._chance = None

    def next_fault(self, call: str) -> Fault | None:
        """Count the call, and return what becomes of it."""
        with self._lock:
            self.calls[call] += 1
            script = self._scripts.get(call)
            if script:
                return script.popleft()
            name = call if call in self._ordered else "*"
            if name in self._ordered:
                return self._spend(name)
            return self._by_chance(call)

    def _spend(self, name: str) -> Fault:
        fault, times = self._ordered[name]
        if times == 1:
            del self._ordered[name]
        elif times is not None:
            self._ordered[name] = (fault, times - 1)
        return fault

    def _by_chance(self, call: str) -> Fault | None:
        if self._chance is None:
            return None
        rng, rate, faults, calls = self._chance
        if call in calls and rng.random() < rate:
            return rng.choice(faults)
        return None


def _known(calls: Iterable[str]) -> list[str]:
    names = list(calls)
    unknown = [name for name in names if name not in CALLS]
    if unknown:
        raise ValueError(f"no such call: {', '.join(unknown)}; there are {', '.join(CALLS)}")
    return names
