"""Virtual time, and threads of which exactly one runs at a time.

The code under test is synchronous and threaded, so each of its threads is a real one here; but
only the one that has the baton runs. Whoever waits picks who is next, hands the baton over and
sleeps. Time passes only when everybody waits, and every choice comes from one seeded generator,
so a run with the same seed is the same run.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from math import inf
from typing import Any

from .hosts import Hosts

__all__ = ["Killed", "Process", "Task", "World"]

_MOST_STEPS = 400_000  # of one run; more are a loop that does not wait


class Killed(BaseException):
    """The thread is to end now."""


class Process:
    """A simulated process: its clock, and whether it runs.

    Attributes:
        rate: of its clock, in relation to real time.
        offset: what its clock showed at the beginning.
        paused_until: real time.
        dead: it was killed.
        breaks_in: after how many steps one of its threads is held up.
        stalls: pauses to come: after how many steps, and for how long.
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
        """Stop it, at that real time, for so long."""
        self.paused_until = max(self.paused_until, now + seconds)
        self.pauses.append((now, now + seconds))

    def paused(self, since: float) -> float:
        """Seconds since a time of its clock that it was stopped, on its clock and at the most."""
        begun = (since - self.offset) / self.rate
        return self.rate * sum(end - max(start, begun) for start, end in self.pauses if end > begun)


class Task:
    """A thread of a simulated process."""

    __slots__ = ("baton", "context", "done", "gen", "killed", "name", "number", "process")

    def __init__(self, process: Process, name: str, number: int) -> None:
        self.process, self.name, self.number = process, name, number
        self.baton = threading.Lock()
        self.baton.acquire()
        self.gen = 0  # of the wait that it is in; wake-ups for an earlier one are stale
        self.done = False
        self.killed = False
        self.context: dict[int, Any] = {}  # what `threading.local` keeps for it

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"{self.process.name}/{self.name}"


class World:
    """One run.

    Args:
        seed: of all that is left to chance.
        hosts: the real threads.
        trace: gets a line for all that happens, or None.
    """

    def __init__(
        self, seed: int | str, hosts: Hosts, trace: Callable[[str], None] | None = None
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.steps = 0
        self.trace = trace
        self.failure: BaseException | None = None
        self.after_each: Callable[[], None] | None = None
        self.breaks = True  # whether threads are held up between two steps
        self._hosts = hosts
        self._due: list[tuple[float, int, Task | None, Any]] = []
        self._order = 0
        self._numbers = 0
        outside = Process("world")
        self.main = self.task(outside, "main")
        self._nobody = self.task(outside, "nobody")
        self.current = self.main

    # -- what is due -------------------------------------------------------------------------

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call that at a time; it must not wait."""
        self._order += 1
        heapq.heappush(self._due, (max(when, self.now), self._order, None, call))

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call that after so many real seconds."""
        self.at(self.now + seconds, call)

    def wake(self, task: Task, delay: float = 0.0) -> None:
        """End the wait that the task is in, soon."""
        self._order += 1
        heapq.heappush(self._due, (self.now + delay, self._order, task, task.gen))

    def note(self, text: str) -> None:
        """Write a line into the trace."""
        if self.trace is not None:
            self.trace(f"{self.now:9.4f} {text}")

    # -- for the running task ----------------------------------------------------------------

    def park(self, until: float = inf) -> None:
        """Wait to be woken, or until a real time."""
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
        """Wait for so many seconds of one's own clock."""
        until = self.now + max(seconds, 1e-6) / self.current.process.rate
        while self.now < until:
            self.park(until)

    def step(self) -> None:
        """Between two steps of a program: another thread, or nobody for a while, may come first."""
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
                self.note(f"{self.current!r} stops between two steps, for {stall[1]:.3f} s")
                self._yield(0.0)
            return
        process.breaks_in = rng.randrange(10, 150)
        if self.breaks:
            self._yield(rng.uniform(0, 0.002) if rng.random() < 0.98 else rng.uniform(0, 0.3))

    def _yield(self, seconds: float) -> None:
        if not self.current.killed:
            until = self.now + seconds
            self.park(until)
            while self.now < until:  # a wake-up that was not meant for this wait
                self.park(until)

    def _following(self) -> Task:
        """Let happen what is due until it is a task's turn; that one has the baton then."""
        due = self._due
        while True:
            when, _, task, what = heapq.heappop(due)
            self.now = max(self.now, when)
            self.steps += 1
            if self.failure is not None or self.steps > _MOST_STEPS:
                task, what = self._give_up()
            elif task is None:
                self.current = self._nobody
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
            self.failure = AssertionError("a loop that does not wait: too many steps")
        return self.main, 0

    # -- tasks -------------------------------------------------------------------------------

    def task(self, process: Process, name: str) -> Task:
        """Make a task that does not run yet."""
        self._numbers += 1
        return Task(process, name, self._numbers)

    def start(self, task: Task, run: Callable[[], object], ended: Callable[[], None]) -> None:
        """Let the task run; `ended` is called in it at its end."""
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

        self._hosts.run(body)
        self.wake(task, self.rng.uniform(0, 0.0005))

    def spawn(self, process: Process, name: str, run: Callable[[], object]) -> Task:
        """Start a thread in the process."""
        task = self.task(process, name)
        self.start(task, run, lambda: None)
        return task

    def kill(self, process: Process) -> None:
        """End it as SIGKILL does: none of its code runs any more. From outside its tasks."""
        process.dead = True
        process.paused_until = -inf
        for task in sorted(process.tasks, key=lambda one: one.number):
            task.killed = True
            self.wake(task)

    def run(self, seconds: float) -> None:
        """Let so many real seconds pass; only in the main thread.

        Raises:
            BaseException: the first thing that went wrong.
        """
        until = self.now + seconds
        while self.now < until:
            self.park(until)
            if self.failure is not None:
                raise self.failure

    def end(self, processes: list[Process]) -> None:
        """Kill all that is left, whatever has gone wrong before."""
        self.after_each = None
        self.failure = None
        self.steps = -_MOST_STEPS
        for process in processes:
            self.kill(process)
        while any(process.tasks for process in processes):
            self.park(self.now + 1.0)
