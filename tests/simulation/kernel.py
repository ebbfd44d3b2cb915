"""Virtual time, and cooperative threads of which exactly one runs at a time.

The code under test is synchronous and threaded, so each of its threads is a real one here, but
only the thread that has the baton runs. A thread that waits chooses the next one, passes the baton
to it, and sleeps. Time passes only when all threads wait. Every choice comes from one seeded
generator, so the same seed gives the same run.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from math import inf
from typing import Any

from .carrier_threads import CarrierThreads

__all__ = ["Killed", "Process", "Task", "World"]

_MOST_STEPS = 400_000  # of one run


class Killed(BaseException):
    """Raised in a thread of a killed process, to end it."""


class Process:
    """A simulated process, with its clock and its pauses.

    Attributes:
        rate: of its clock, relative to real time.
        offset: the reading of its clock at the beginning.
        paused_until: real time.
        dead: it was killed.
        breaks_in: number of steps until one of its threads yields.
        stalls: future pauses: number of steps until then, and seconds.
    """

    def __init__(self, name: str, rate: float = 1.0, offset: float = 0.0) -> None:
        self.name, self.rate, self.offset = name, rate, offset
        self.paused_until = -inf
        self.dead = False
        self.breaks_in = 0
        self.pauses: list[tuple[float, float]] = []
        self.stalls: list[list[float]] = []
        self.tasks: set[Task] = set()

    def pause(self, now: float, seconds: float) -> None:
        """Stop it for so many seconds of real time."""
        self.paused_until = max(self.paused_until, now + seconds)
        self.pauses.append((now, now + seconds))

    def paused(self, since: float) -> float:
        """At most so many seconds of its clock it was stopped, since that time of its clock."""
        begun = (since - self.offset) / self.rate
        return self.rate * sum(end - max(start, begun) for start, end in self.pauses if end > begun)


class Task:
    """A thread of a simulated process."""

    __slots__ = ("baton", "context", "done", "gen", "killed", "name", "number", "process")

    def __init__(self, process: Process, name: str, number: int) -> None:
        self.process, self.name, self.number = process, name, number
        self.baton = threading.Lock()
        self.baton.acquire()
        self.gen = 0  # number of its present wait; wake-ups for an earlier one are stale
        self.done = False
        self.killed = False
        self.context: dict[int, Any] = {}  # its values of `threading.local`

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"{self.process.name}/{self.name}"


class World:
    """One run.

    Args:
        seed: of the random generator.
        carriers: the real threads.
        trace: is called with a line for each step, or None.
    """

    def __init__(
        self, seed: int | str, carriers: CarrierThreads, trace: Callable[[str], None] | None = None
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.steps = 0
        self.trace = trace
        self.failure: BaseException | None = None
        self.after_each: Callable[[], None] | None = None
        self.breaks = True  # whether threads yield between two steps
        self._carriers = carriers
        self._due: list[tuple[float, int, Task | None, Any]] = []
        self._order = 0
        self._numbers = 0
        outside = Process("world")
        self.main = self.task(outside, "main")
        self._idle = self.task(outside, "idle")
        self.current = self.main

    # -- events that are due -------------------------------------------------------------------------

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call a function, which must not wait, at that time."""
        self._order += 1
        heapq.heappush(self._due, (max(when, self.now), self._order, None, call))

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it after so many seconds of real time."""
        self.at(self.now + seconds, call)

    def wake(self, task: Task, delay: float = 0.0) -> None:
        """End the present wait of the task."""
        self._order += 1
        heapq.heappush(self._due, (self.now + delay, self._order, task, task.gen))

    def note(self, text: str) -> None:
        """Write a line into the trace."""
        if self.trace is not None:
            self.trace(f"{self.now:9.4f} {text}")

    # -- for the running task ----------------------------------------------------------------

    def park(self, until: float = inf) -> None:
        """Wait for a wake-up, at most until that real time."""
        me = self.current
        if me.killed:
            raise Killed
        me.gen += 1
        if until != inf:
            self._order += 1
            heapq.heappush(self._due, (until, self._order, me, me.gen))
        following = self._following()
        if following is not me:
            following.baton.release()
            me.baton.acquire()
        if me.killed:
            raise Killed

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of the process's clock."""
        until = self.now + max(seconds, 1e-6) / self.current.process.rate
        while self.now < until:
            self.park(until)

    def step(self) -> None:
        """A point between two steps at which another thread may run, or the process may pause."""
        process = self.current.process
        process.breaks_in -= 1
        if process.breaks_in < 0 and not (process.dead or process is self.main.process):
            self._break(process)

    def _break(self, process: Process) -> None:
        rng = self.rng
        if process.stalls:
            stall = process.stalls[0]
            stall[0] -= 1
            if stall[0] <= 0:
                process.stalls.pop(0)
                process.pause(self.now, stall[1])
                self.note(f"{self.current!r} pauses between two steps, for {stall[1]:.3f} s")
                self._yield(0.0)
            return
        process.breaks_in = rng.randrange(10, 150)
        if self.breaks:
            self._yield(rng.uniform(0, 0.002) if rng.random() < 0.98 else rng.uniform(0, 0.3))

    def _yield(self, seconds: float) -> None:
        if not self.current.killed:
            until = self.now + seconds
            self.park(until)
            while self.now < until:  # the wake-up belongs to another wait
                self.park(until)

    def _following(self) -> Task:
        """Process due events until one is the wake-up of a task, which gets the baton."""
        due = self._due
        while True:
            when, _, task, what = heapq.heappop(due)
            self.now = max(self.now, when)
            self.steps += 1
            if self.failure is not None or self.steps > _MOST_STEPS:
                task, what = self._give_up()
            elif task is None:
                self.current = self._idle
                try:
                    what()
                except BaseException as error:  # noqa: BLE001 - it is raised in the main thread
                    self.failure = self.failure or error
                continue
            elif what != task.gen or task.done:
                continue
            elif task.process.paused_until > self.now:
                self._order += 1
                heapq.heappush(due, (task.process.paused_until, self._order, task, what))
                continue
            if self.after_each is not None:
                try:
                    self.after_each()
                except BaseException as error:  # noqa: BLE001 - it is raised in the main thread
                    self.failure = self.failure or error
                    task = self.main
            assert task is not None
            task.gen += 1
            self.current = task
            return task

    def _give_up(self) -> tuple[Task, int]:
        if self.failure is None:
            self.failure = AssertionError("too many steps: a loop does not wait")
        return self.main, 0

    # -- tasks -------------------------------------------------------------------------------

    def task(self, process: Process, name: str) -> Task:
        """Create a task, without starting it."""
        self._numbers += 1
        return Task(process, name, self._numbers)

    def start(self, task: Task, run: Callable[[], object], ended: Callable[[], None]) -> None:
        """Start the task, which calls `ended` when `run` has returned."""
        if task.process.dead:
            raise Killed
        task.process.tasks.add(task)

        def body() -> None:
            task.baton.acquire()
            try:
                if not task.killed:
                    run()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 - it is raised in the main thread
                self.failure = self.failure or error
            finally:
                task.done = True
                task.process.tasks.discard(task)
                ended()
                self._following().baton.release()

        self._carriers.run(body)
        self.wake(task, self.rng.uniform(0, 0.0005))

    def spawn(self, process: Process, name: str, run: Callable[[], object]) -> Task:
        """Start a thread in the process."""
        task = self.task(process, name)
        self.start(task, run, lambda: None)
        return task

    def kill(self, process: Process) -> None:
        """End it as SIGKILL does: none of its code runs after that. Not from one of its tasks."""
        process.dead = True
        process.paused_until = -inf
        for task in sorted(process.tasks, key=lambda one: one.number):
            task.killed = True
            self.wake(task)

    def run(self, seconds: float) -> None:
        """Let so many seconds of real time pass; only in the main thread.

        Raises:
            BaseException: the first failure.
        """
        until = self.now + seconds
        while self.now < until:
            self.park(until)
            if self.failure is not None:
                raise self.failure

    def end(self, processes: list[Process]) -> None:
        """Kill all processes, also after a failure."""
        self.after_each = None
        self.failure = None
        self.steps = -_MOST_STEPS
        for process in processes:
            self.kill(process)
        while any(process.tasks for process in processes):
            self.park(self.now + 1.0)
