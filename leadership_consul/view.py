"""What a subscriber waits for, and what a poll has seen of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from leadership_core import clock
from leadership_core.delivery import WatchDelivery
from leadership_core.errors import StoreUnavailable

from .client import Record
from .pace import Pace

__all__ = ["Found", "Look", "Scope", "Subscription", "View"]

_CONFIRM = 15.0  # seconds
_WAIT, _LEAST_WAIT = 10.0, 1.0  # seconds that an agent holds a long poll while nothing changes
_RATE, _BURST = 20.0, 20.0  # looks a second for one who watches an entry

Found = tuple[Record, ...] | StoreUnavailable
Look = Callable[[Found, bool], None]
"""Called with what is there, and with whether the store was away before."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A key, or with `below` all keys that begin with `path`."""

    path: str
    below: bool = False

    @property
    def folder(self) -> str:
        """All up to the last slash, or nothing for a key that has none."""
        return self.path[: self.path.rfind("/") + 1]

    def covers(self, other: Scope) -> bool:
        return self == other or (self.below and other.path.startswith(self.path))


@dataclass(frozen=True, slots=True)
class View:
    """What a poll has seen at one moment.

    Attributes:
        version: grows with every look of that poll.
        records: by key; or the error, when it has seen nothing.
    """

    version: int
    records: Mapping[str, Record] | StoreUnavailable

    def at(self, scope: Scope) -> Found:
        if isinstance(self.records, StoreUnavailable):
            return self.records
        if not scope.below:
            record = self.records.get(scope.path)
            return () if record is None else (record,)
        return tuple(
            record for key, record in sorted(self.records.items()) if key.startswith(scope.path)
        )


class Subscription:
    """One who wants to know what is at a scope.

    Several threads may bring views; the callback is called by one at a time, in order, with no
    lock held, and a view that came too late is dropped. Closing it ends the calls.

    Args:
        scope: where to look.
        look: the callback.
        drop: called once, when it is closed.
        confirm: whether to call again from time to time although nothing has changed.
        pace: how often to look for it.
        ttl: seconds; of the session of one who stands for election.

    Attributes:
        wait: seconds that a long poll for it may be held. A link that has died without a word is
            noticed after that time and a few seconds more, and until then nobody hears of a
            turn: one who stands must not be deaf for longer than it takes to replace a leader.
    """

    def __init__(
        self,
        scope: Scope,
        look: Look,
        drop: Callable[[Subscription], None],
        *,
        confirm: bool,
        pace: Pace | None = None,
        ttl: float = inf,
    ) -> None:
        self.scope = scope
        self.wait = max(_LEAST_WAIT, min(ttl, _WAIT))
        self.pace = pace or Pace(_RATE, _BURST)
        self.pace.join()
        self._look = look
        self._drop = drop
        self._confirm = confirm
        self._lock = threading.Lock()
        self._source: object = None
        self._version = -1
        self._mark: object = None
        self._told = 0.0
        self._after_outage = False
        self._delivery = WatchDelivery(self._call, self._leave)

    def follow(self, source: object) -> None:
        """Take views of this poll only, from now on."""
        with self._lock:
            self._source = source
            self._version = -1

    def show(self, source: object, view: View) -> bool:
        """Bring a view; returns whether it was news."""
        with self._lock:
            if source is not self._source or view.version <= self._version:
                return False
            if self._delivery.closed:
                return False
            self._version = view.version
            found = view.at(self.scope)
            mark = _mark(found, view)
            news = mark != self._mark
            due = self._confirm and clock.now() - self._told >= _CONFIRM
            if not (news or due):
                return False
            if self._mark is StoreUnavailable:
                self._after_outage = True
            self._mark, self._told = mark, clock.now()
            self._delivery.put(view)
        self._delivery.run()
        return news

    def _call(self, view: View) -> None:
        with self._lock:
            after_outage, self._after_outage = self._after_outage, False
        self._look(view.at(self.scope), after_outage)

    def close(self) -> None:
        """End the calls; see `WatchDelivery.close`."""
        self._delivery.close()

    def _leave(self) -> None:
        self.pace.leave()
        self._drop(self)


def _mark(found: Found, view: View) -> object:
    if isinstance(found, StoreUnavailable):
        return StoreUnavailable  # told once, whatever it says the next time
    if not found:
        # A key may have come and gone between two views. One that is there has an index, which
        # no other state of it has; the absence of one looks always the same.
        return view.version
    return [(record.key, record.modified, record.session) for record in found]
