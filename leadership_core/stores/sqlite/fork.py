"""The lock that keeps threads out of SQLite while the process forks.

A forked child has the parent's memory, but neither its threads nor its file locks:

* A mutex of SQLite that another thread held at the fork stays locked in the child, and the next use
  of SQLite there, of any database, blocks without end. So a fork waits until no thread of this store
  is inside SQLite, which takes microseconds, or one fsync.
* A connection must not be used in the child, not even be closed: it is leaked.
* SQLite remembers for each open file which locks the process has, and the child has none of them: a
  file that it opened again would not be locked. So a child must not open such a file.

See https://www.sqlite.org/howtocorrupt.html, section 2.7.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

__all__ = ["fork_lock"]

_LONGEST_WAIT = 1.0
"""Seconds that a fork waits for a disk that does not answer; then it forks all the same."""


class _ForkLock:
    """Held around each call of SQLite by any number of threads, and exclusively during a fork."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()  # entered without a call of Python code, unlike a condition
        self._free = threading.Condition(self._lock)
        self._inside = 0
        self._forks = 0  # that wait

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._forks and not self._inside:
                self._free.notify_all()

    def before_fork(self) -> None:
        self._lock.acquire()
        self._forks += 1
        try:
            self._free.wait_for(lambda: not self._inside, _LONGEST_WAIT)
        finally:
            self._forks -= 1

    def after_in_parent(self) -> None:
        self._lock.release()

    def after_in_child(self) -> None:
        self._reset()


fork_lock: _ForkLock = _ForkLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=fork_lock.before_fork,
        after_in_parent=fork_lock.after_in_parent,
        after_in_child=fork_lock.after_in_child,
    )
