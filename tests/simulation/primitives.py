"""Replacements for `threading` and `queue` in virtual time.

Only one task runs at a time, so these need no locks of their own. Each operation lets other tasks
run, in an order that the seed decides.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from math import inf
from queue import Empty
from typing import Any, Generic, Self, TypeVar

from .kernel import Killed, Task, World

__all__ = ["Threading"]

T = TypeVar("T")


def _until(timeout: float | None) -> float:
    """The real time at which a wait of the current task ends."""
    if timeout is None:
        return inf
    world = Threading.world
    return world.now + max(timeout, 1e-6) / world.current.process.rate


def _park_in(waiting: deque[Task], until: float) -> None:
    """Let the current task wait, in that queue."""
    world = Threading.world
    me = world.current
    waiting.append(me)
    try:
        world.park(until)
    finally:
        if me in waiting:
            waiting.remove(me)


class Threading:
    """Replacement for the module `threading` and for `queue.SimpleQueue`.

    Its `world` is the one of the present run.
    """

    world: World
    _idents = itertools.count(1)

    @classmethod
    def get_ident(cls) -> int:
        return cls.world.current.number

    @classmethod
    def current_thread(cls) -> object:
        return cls.world.current.context.get(0, cls.world.current)

    @classmethod
    def main_thread(cls) -> object:
        return cls.world.main

    class Lock:
        """Not reentrant."""

        def __init__(self) -> None:
            self._holder: Task | None = None
            self._count = 0
            self._waiting: deque[Task] = deque()

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            world = Threading.world
            me = world.current
            until = _until(None if timeout < 0 else timeout)
            while self._holder is not None and not self._mine(me):
                if not blocking or world.now >= until:
                    return False
                if self._holder.done:
                    raise Killed  # the holder was killed, and with it the whole process
                _park_in(self._waiting, until)
            self._holder = me
            self._count += 1
            return True

        def _mine(self, me: Task) -> bool:
            return False

        def release(self) -> None:
            if self._holder is None:
                if Threading.world.current.killed:
                    return  # unwinding, from somewhere between release and acquire
                raise RuntimeError("release of a lock that is not held")
            self._count -= 1
            if self._count:
                return
            self._holder = None
            world = Threading.world
            if self._waiting:
                world.wake(self._waiting.popleft(), world.rng.uniform(0, 0.0002))
            world.step()

        def locked(self) -> bool:
            return self._holder is not None

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *_: object) -> None:
            self.release()

    class RLock(Lock):
        """Reentrant."""

        def _mine(self, me: Task) -> bool:
            return self._holder is me

    class Condition:
        """With the lock that it is given, or a reentrant one."""

        def __init__(self, lock: Threading.Lock | None = None) -> None:
            self._lock = Threading.RLock() if lock is None else lock
            self._waiting: list[list[Any]] = []
            self.acquire = self._lock.acquire
            self.release = self._lock.release

        def __enter__(self) -> bool:
            return self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

        def wait(self, timeout: float | None = None) -> bool:
            world = Threading.world
            me = world.current
            until = _until(timeout)
            ticket = [me, False]
            self._waiting.append(ticket)
            count, self._lock._count = self._lock._count, 1
            self._lock.release()
            try:
                while not ticket[1] and world.now < until:
                    world.park(until)
            finally:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                if not me.killed:
                    self._lock.acquire()
                    self._lock._count = count
                else:  # its process was killed, and the frames above will "release" it
                    self._lock._holder, self._lock._count = me, count
            return bool(ticket[1])

        def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
            world = Threading.world
            until = _until(timeout)
            while not (result := predicate()):
                if world.now >= until:
                    break
                left = None if until == inf else (until - world.now) * world.current.process.rate
                self.wait(left)
            return result

        def notify(self, n: int = 1) -> None:
            world = Threading.world
            for ticket in self._waiting[:n]:
                ticket[1] = True
                self._waiting.remove(ticket)
                world.wake(ticket[0], world.rng.uniform(0, 0.0002))

        def notify_all(self) -> None:
            self.notify(len(self._waiting))

    class Event:
        """A flag to wait for."""

        def __init__(self) -> None:
            self._set = False
            self._waiting: list[Task] = []

        def is_set(self) -> bool:
            return self._set

        def set(self) -> None:
            world = Threading.world
            self._set = True
            for task in self._waiting:
                world.wake(task, world.rng.uniform(0, 0.0002))
            world.step()

        def clear(self) -> None:
            self._set = False

        def wait(self, timeout: float | None = None) -> bool:
            world = Threading.world
            me = world.current
            until = _until(timeout)
            self._waiting.append(me)
            try:
                while not self._set and world.now < until:
                    world.park(until)
            finally:
                self._waiting.remove(me)
            return self._set

    class Thread:
        """Runs in the process of the task that starts it."""

        def __init__(
            self,
            group: None = None,
            target: Callable[..., object] | None = None,
            name: str | None = None,
            args: Iterable[Any] = (),
            kwargs: Mapping[str, Any] | None = None,
            *,
            daemon: bool | None = None,
        ) -> None:
            self.name = name or f"Thread-{next(Threading._idents)}"
            self.daemon = daemon
            self._target, self._args, self._kwargs = target, args, kwargs or {}
            self._task: Task | None = None
            self._over = Threading.Event()

        @property
        def ident(self) -> int | None:
            return None if self._task is None else self._task.number

        def start(self) -> None:
            world = Threading.world
            self._task = world.task(world.current.process, self.name)
            self._task.context[0] = self
            world.start(self._task, self.run, self._ended)

        def run(self) -> None:
            if self._target is not None:
                self._target(*self._args, **self._kwargs)

        def _ended(self) -> None:
            self._over._set = True
            for task in self._over._waiting:
                Threading.world.wake(task)

        def is_alive(self) -> bool:
            return self._task is not None and not self._task.done

        def join(self, timeout: float | None = None) -> None:
            self._over.wait(timeout)

    class local:  # noqa: N801 - the name in the module
        """Values of each task."""

        def __getattr__(self, name: str) -> Any:
            try:
                return self._mine()[name]
            except KeyError:
                raise AttributeError(name) from None

        def __setattr__(self, name: str, value: Any) -> None:
            self._mine()[name] = value

        def __delattr__(self, name: str) -> None:
            del self._mine()[name]

        def _mine(self) -> dict[str, Any]:
            found: dict[str, Any] = Threading.world.current.context.setdefault(id(self), {})
            return found

    class SimpleQueue(Generic[T]):
        """Unbounded."""

        def __init__(self) -> None:
            self._items: deque[T] = deque()
            self._waiting: deque[Task] = deque()

        def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
            world = Threading.world
            self._items.append(item)
            if self._waiting:
                world.wake(self._waiting.popleft(), world.rng.uniform(0, 0.0002))
            world.step()

        def get(self, block: bool = True, timeout: float | None = None) -> T:
            world = Threading.world
            until = _until(timeout)
            while not self._items:
                if not block or world.now >= until:
                    raise Empty
                _park_in(self._waiting, until)
            return self._items.popleft()

        def empty(self) -> bool:
            return not self._items

        def qsize(self) -> int:
            return len(self._items)

        def __class_getitem__(cls, _: object) -> type[Self]:
            return cls
