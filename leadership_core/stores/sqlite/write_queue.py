"""Queue of the writers of one process: SQLite admits one at a time, in no order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from ...backend import clock
from ...errors import NotApplied

__all__ = ["Ticket", "WriteQueue"]

JobT = TypeVar("JobT")


class Ticket(Generic[JobT]):
    """The place of one writer in the queue.

    Attributes:
        job: what another writer may do in its transaction; None for a writer that does it itself.
        taken: another writer does the job.
        has_turn: its turn has come, and lasts until `WriteQueue.pass_on`.
    """

    __slots__ = ("_woken", "has_turn", "job", "taken")

    def __init__(self, job: JobT | None = None) -> None:
        self.job: JobT | None = job
        self.taken: bool = False
        self.has_turn: bool = False
        self._woken = threading.Lock()
        self._woken.acquire()

    def wake(self) -> None:
        """End the wait; called once."""
        self._woken.release()

    def wait(self, seconds: float = -1) -> bool:
        """Wait until `wake` was called; False if that takes longer."""
        return self._woken.acquire(timeout=seconds)


class WriteQueue(Generic[JobT]):
    """A fair queue in which a renewal waits for one other write at most; thread-safe.

    Turns are in the order of arrival: otherwise a thread that writes again at once would always come
    before threads that have to wake up first. A writer whose turn it is may take the jobs of those
    that wait, and do them in its own transaction.
    """

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._queue: Final[deque[Ticket[JobT]]] = deque()
        self._taken = False
        self._urgent = 0

    @contextmanager
    def turn(self, *, urgent: bool, deadline: float) -> Iterator[None]:
        """Wait for the caller's turn, which lasts until the end of the block.

        Args:
            urgent: start at once; all others wait until the block has ended.
            deadline: when to give up, on `clock.now`.

        Raises:
            NotApplied: the turn did not come before the deadline.
        """
        if urgent:
            with self._lock:
                self._urgent += 1
        else:
            self.enter(Ticket(), deadline)
        try:
            yield
        finally:
            with self._lock:
                if urgent:
                    self._urgent -= 1
                else:
                    self._taken = False
                self._pass_on()

    def enter(self, mine: Ticket[JobT], deadline: float) -> bool:
        """Wait for the turn, or until another writer has done the job.

        Args:
            mine: a new ticket.
            deadline: when to give up, on `clock.now`. A job that was taken by then is waited for.

        Returns:
            Whether it is the caller's turn, which lasts until `leave`; else the job is done.

        Raises:
            NotApplied: neither has come before the deadline; the job will not be done.
        """
        with self._lock:
            self._queue.append(mine)
            self._pass_on()
        in_time = False
        try:
            in_time = mine.wait(max(0.0, deadline - clock.now()))
            if not in_time and self._is_taken(mine):
                in_time = mine.wait()
        finally:
            if not in_time:
                self._leave(mine)
        if not in_time:
            raise NotApplied("the writes of other threads of this process took too long")
        return mine.has_turn

    def leave(self) -> None:
        """End the turn."""
        with self._lock:
            self._taken = False
            self._pass_on()

    def take_jobs(self, most: int, accepts: Callable[[JobT], bool]) -> list[Ticket[JobT]]:
        """Take the jobs that wait, in their order; for the writer whose turn it is, which wakes them.

        Args:
            most: how many.
            accepts: the first job that it refuses waits for its turn, with all behind it.
        """
        taken: list[Ticket[JobT]] = []
        with self._lock:
            while self._queue and len(taken) < most:
                ticket = self._queue[0]
                if ticket.job is None or not accepts(ticket.job):
                    break
                self._queue.popleft()
                ticket.taken = True
                taken.append(ticket)
        return taken

    def _is_taken(self, mine: Ticket[JobT]) -> bool:
        with self._lock:
            return mine.taken

    def _leave(self, mine: Ticket[JobT]) -> None:
        with self._lock:
            if mine.has_turn:  # it came after the wait had ended
                self._taken = False
                self._pass_on()
            elif not mine.taken:
                self._queue.remove(mine)

    def _pass_on(self) -> None:
        if self._queue and not (self._taken or self._urgent):
            self._taken = True
            ticket = self._queue.popleft()
            ticket.has_turn = True
            ticket.wake()
