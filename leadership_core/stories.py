"""What users iterate over: the changes of a candidate or a follower, for any number of readers.

A reader that is slow, or has gone away, costs nobody anything: events are queued here, and
never sent.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Self

from .events import (
    Campaigning,
    Event,
    LeaderChanged,
    Lost,
    Resigned,
    Resumed,
    Stopped,
    StoreDown,
    StoreUp,
    Suspended,
)

__all__ = ["Announcer", "Story"]

_MOST_QUEUED = 1000


class Announcer:
    """Wakes everybody who waits for a change, and queues events for every story.

    Attributes:
        changed: the condition that guards the state of its owner.
        error: raised to the readers at the end, if it was an error that ended the story.

    Args:
        guard: raises where nothing may be touched, as in a forked child.
    """

    def __init__(self, guard: Callable[[], None]) -> None:
        self.changed = threading.Condition()
        self.error: Exception | None = None
        self.guard = guard
        self._stories: weakref.WeakSet[Story] = weakref.WeakSet()
        self._so_far: list[Event] = []

    def announce(self, event: Event | None = None) -> None:
        """Wake the waiting; with an event, queue it for every story. Never blocks for long."""
        with self.changed:
            if event is not None:
                over = isinstance(event, Stopped)
                self._so_far = [event] if over else shortened([*self._so_far, event])
                for story in list(self._stories):
                    story.append(event)
            self.changed.notify_all()

    def story(self) -> Story:
        """Begin a story with where things stand; every later event is added to it."""
        with self.changed:
            story = Story(self, self._so_far)
            self._stories.add(story)
        return story


class Story:
    """An iterator over events; each step blocks until there is one.

    One that nobody reads keeps about 1,000 events: of the older ones, all that is over (a
    whole term, a whole outage) is left out.
    """

    def __init__(self, announcer: Announcer, so_far: Iterable[Event]) -> None:
        self._announcer = announcer
        self._queue: deque[Event] = deque(so_far)
        self._over = False

    def append(self, event: Event) -> None:
        """Queue an event; the caller holds the condition."""
        self._queue.append(event)
        if len(self._queue) > _MOST_QUEUED:
            events = list(self._queue)
            half = len(events) // 2
            self._queue = deque(shortened(events[:half]) + events[half:])

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        self._announcer.guard()
        if self._over:
            if self._announcer.error is not None:
                raise self._announcer.error
            raise StopIteration
        with self._announcer.changed:
            self._announcer.changed.wait_for(lambda: self._queue)
            event = self._queue.popleft()
        self._over = isinstance(event, Stopped)
        return event


_ENDS: dict[type[Event], type[Event]] = {
    Resumed: Suspended,
    StoreUp: StoreDown,
    Lost: Campaigning,
    Resigned: Campaigning,
}
_REPLACES_LAST = (Campaigning, LeaderChanged)
_APART = (StoreDown, StoreUp)  # what the store does is not part of a term


def shortened(events: Iterable[Event]) -> list[Event]:
    """Leave out what is over: each end together with its beginning and what lies between."""
    kept: list[Event] = []
    for event in events:
        begins = _ENDS.get(type(event), type(event) if isinstance(event, _REPLACES_LAST) else None)
        at = next((i for i in reversed(range(len(kept))) if type(kept[i]) is begins), None)
        if at is not None and isinstance(event, (Resumed, StoreUp, LeaderChanged)):
            del kept[at]
        elif at is not None:
            kept[at:] = [one for one in kept[at:] if isinstance(one, _APART)]
        if at is None or isinstance(event, _REPLACES_LAST):
            kept.append(event)
    return kept
