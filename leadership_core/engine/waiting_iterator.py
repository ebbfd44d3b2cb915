"""Iterators whose steps are operations, so that threads and coroutines read the same streams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import Enum
from typing import TypeVar

from ..backend.event_count import Waits, block_on

__all__ = ["End", "WaitingIterator"]

T = TypeVar("T")


class End(Enum):
    """What a step returns where the iterator has ended; a generator cannot raise `StopIteration`."""

    END = "end"


class WaitingIterator(Iterator[T], ABC):
    """An iterator that blocks in each step until there is a value."""

    @abstractmethod
    def step(self) -> Waits[T | End]:
        """Wait for the next value, and return it; `End.END` where there is none any more."""

    def __next__(self) -> T:
        value = block_on(self.step())
        if isinstance(value, End):
            raise StopIteration
        return value
