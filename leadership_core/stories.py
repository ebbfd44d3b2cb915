"""What users iterate over: the changes of a candidate or a follower, for any number of readers.

A reader that is slow, or has gone away, costs nobody anything: events are queued here, and
never sent.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Self

from .events import Campaigning, Event, Stopped

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

    def announce(self, event: Event | None = None) -> None:
        """Wake the waiting; with an event, queue it for every story. Never blocks for long."""
        with self.changed:
            if event is not None:
                for story in list(self._stories):
                    story.append(event)
            self.changed.notify_all()

    def story(self, *so_far: Event) -> Story:
        """Begin a story with these events; call it while holding `changed`."""
        story = Story(self, so_far)
        self._stories.add(story)
        return story


class Story:
    """An iterator over events; each step blocks until there is one.

    One that nobody reads keeps about 1,000 events: the oldest terms are dropped whole.
    """

    def __init__(self, announcer: Announcer, so_far: tuple[Event, ...]) -> None:
        self._announcer = announcer
        self._queue: deque[Event] = deque(so_far)
        self._over = False

    def append(self, event: Event) -> None:
        """Queue an event; the caller holds the condition."""
        self._queue.append(event)
        if len(self._queue) > _MOST_QUEUED:
            self._queue.popleft()
            while len(self._queue) > 1 and not isinstance(self._queue[0], Campaigning):
                self._queue.popleft()

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
