"""Work of one task for a term: it holds the release back, and is cancelled when the term is over.

asyncio counts the requests to cancel a task (`Task.cancelling`). Work whose term is over makes one,
and takes it back (`Task.uncancel`) at its end. If no other request has come since its beginning,
the `CancelledError` is its own, and becomes `LeadershipLost`; else it belongs to the other one, and
goes on as it came. (As `asyncio.timeout` does.)
"""

from __future__ import annotations

import asyncio
import weakref
from weakref import WeakKeyDictionary

from ..engine.candidate_control import CandidateControl
from ..engine.candidate_state import CurrentTerm
from ..engine.open_store import OpenStore
from ..errors import LeadershipLost

__all__ = ["TermWork", "current_task", "leave_work", "task_or_none", "works_for"]

_of_task: WeakKeyDictionary[asyncio.Task[object], list[TermWork]] = WeakKeyDictionary()
"""The work that each task has begun and not ended, the innermost last."""


def current_task() -> asyncio.Task[object]:
    """Return the running task; raises RuntimeError outside of one."""
    task = task_or_none()
    if task is None:
        raise RuntimeError("this can only be used in a task of asyncio")
    return task


def task_or_none() -> asyncio.Task[object] | None:
    """Return the running task; None outside of one, as where one of a closed loop is collected."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop is running
        return None


def leave_work(owner: CandidateControl | OpenStore) -> bool:
    """Note that the running task itself ends its terms, so it is not to be cancelled for that.

    Args:
        owner: the candidate or the store whose terms it ends.

    Returns:
        Whether its work has to return first: a call that waited for the release would wait for itself.
    """
    task = task_or_none()
    waits = False
    for work in [] if task is None else list(_of_task.get(task, ())):
        if owner in (work.control, work.opened):
            waits |= work.leave()
    return waits


def works_for(control: CandidateControl) -> bool:
    """Whether the running task has work for a term of this candidate that has not ended."""
    task = task_or_none()
    return task is not None and any(one.control is control for one in _of_task.get(task, ()))


class TermWork:
    """Begins with its creation, in the task whose work it is, and ends with `end`.

    Args:
        control: of the candidate.
        opened: its store.
        current: the term.
        is_block: whether it is the block of a term that ends with it: if the task itself ends the
            term inside, the rest of the block is not part of the work any more.
    """

    def __init__(
        self,
        control: CandidateControl,
        opened: OpenStore,
        current: CurrentTerm,
        *,
        is_block: bool,
    ) -> None:
        self.control = control
        self.opened = opened
        self.current = current
        self._is_block = is_block
        # Weak: the engine knows this work, and must not keep the task of a loop that was closed.
        self._task = weakref.ref(task := current_task())
        self._loop = asyncio.get_running_loop()
        self._cancelling = task.cancelling()
        self._cancelled = False  # it has requested to cancel the task
        self._left = False  # the task itself has ended the term
        self._over = False  # the work has ended
        self._siblings = _of_task.setdefault(task, [])
        self._siblings.append(self)
        current.state.begin_work(self)
        current.state.over.subscribe(self._wake)
        if current.term.lost:  # read after the subscription
            self._wake()

    def leave(self) -> bool:
        """Note that the task itself ends the term now; True if the work goes on nevertheless."""
        if not self.current.term.lost:  # or it was lost before, and the task is being cancelled
            self._left = True
            if self._is_block:
                self.control.end_work(self.current, self)
        return not self._is_block

    def end(self, error: BaseException | None) -> LeadershipLost | None:
        """End the work; returns what is to be raised in place of what its body has raised.

        Args:
            error: what the body has raised.
        """
        lost = self.control.loss_of(self.current)  # before the release ends the term
        if self._over:
            return None
        self._over = True
        state = self.current.state
        state.over.unsubscribe(self._wake)
        self._siblings.remove(self)
        for outer in self._siblings:
            outer.wake_again()
        self.control.end_work(self.current, self)
        task = self._task()
        others = not self._cancelled or task is None or task.uncancel() > self._cancelling
        if error is None:
            if self._left or not (lost or self._cancelled):
                return None
        elif others or not isinstance(error, asyncio.CancelledError):
            return None
        return lost or LeadershipLost(
            f"term {self.current.term.token} of {self.current.term.key} is over: {state.why_over}; "
            "its block was cancelled"
        )

    def wake_again(self) -> None:
        """Check again in the next step of the loop, if the term is over."""
        if self.is_lost:
            self._wake()

    @property
    def is_lost(self) -> bool:
        """Whether the term is over, and not by the task itself."""
        return not self._left and self.current.term.lost

    def _wake(self) -> None:
        """Check in the next step of the loop; from any thread. A closed loop has no tasks any more."""
        self._loop.call_soon_threadsafe(self._check)

    def _check(self) -> None:
        if self._over or self._cancelled or not self.is_lost:
            return
        inner = self._siblings[self._siblings.index(self) + 1 :]
        if any(work.is_lost for work in inner):
            return  # that one cancels the task, and this one checks again when that has ended
        # In a callback of the loop, so the task is not running: the request reaches it where it
        # awaits, which is inside of its work.
        if (task := self._task()) is not None:
            self._cancelled = True
            task.cancel()
