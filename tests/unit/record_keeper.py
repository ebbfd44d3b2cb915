"""An observer that keeps all records."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

from leadership_core.backend.observation import hub
from leadership_core.backend.records import Record
from leadership_core.observers import hookimpl
from tests.support.waiting import at_most

R = TypeVar("R", bound=Any)


class RecordKeeper:
    """An observer that keeps all records."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.threads: set[str] = set()

    @hookimpl
    def leadership_observe(self, record: Record) -> None:
        self.threads.add(threading.current_thread().name)
        self.records.append(record)

    def of(self, kind: type[R]) -> list[R]:
        """All records of one class so far."""
        assert hub.flush(at_most(5))
        return [one for one in self.records if isinstance(one, kind)]
