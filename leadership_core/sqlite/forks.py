"""What keeps SQLite and `fork` apart.

A child of a fork has the parent's memory, but neither its threads nor its locks:

* a mutex of SQLite that another thread held at that moment stays locked in the child, and
  the next use of SQLite there, of any database, waits for ever. So a fork waits until no
  thread of ours is inside SQLite, which is a matter of microseconds, or of one fsync;
* a connection must not be used in the child, not even be closed: it is kept for ever;
* SQLite remembers for each open file which locks the process has, and the child has none of
  them: what it opened of such a file would not be locked. So it may not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Protocol
from weakref import WeakSet

from .location import Identity

__all__ = ["Inheritance", "gate", "is_inherited", "register"]

_LONGEST_WAIT = 1.0
"""Seconds that a fork waits for a disk that does not answer, and then takes the risk."""


class Inheritance(Protocol):
    """What must be told that it is in a child."""

    def end_in_child(self) -> AbstractSet[Identity]:
        """Make it inert, take no lock; returns the files that SQLite has open for it."""


class _Gate:
    """Held around each call of SQLite, by any number of threads; closed during a fork."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._free = threading.Condition()
        self._inside = 0

    def __enter__(self) -> None:
        with self._free:
            self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._free:
            self._inside -= 1
            if not self._inside:
                self._free.notify_all()

    def before_fork(self) -> None:
        self._free.acquire()
        self._free.wait_for(lambda: not self._inside, _LONGEST_WAIT)

    def after_in_parent(self) -> None:
        self._free.release()

    def after_in_child(self) -> None:
        self._reset()
        for heir in list(_heirs):
            _inherited.update(heir.end_in_child())


gate = _Gate()
_heirs: WeakSet[Inheritance] = WeakSet()
_inherited: set[Identity] = set()


def register(heir: Inheritance) -> None:
    """Tell it when it is in a child."""
    _heirs.add(heir)


def is_inherited(file: Identity | None) -> bool:
    """Say whether a parent of this process had the file open when it was forked."""
    return file in _inherited


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=gate.before_fork,
        after_in_parent=gate.after_in_parent,
        after_in_child=gate.after_in_child,
    )
