"""A watch of an election's leader whose reports a test can hold back and make itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from leadership_core import Closable, Leader, Store, StoreUnavailable
from leadership_core.engine.store_base import internals

__all__ = ["LateWatch"]

_Report: TypeAlias = Leader | StoreUnavailable | None


class LateWatch:
    """Takes the place of the watch of the store's election, for the followers started later.

    Attributes:
        silent: while it is true, the store's own reports are dropped.

    Args:
        store: the store of the followers.
        key: the key of the election.
        monkeypatch: puts the election's own watch back at the end.
    """

    def __init__(self, store: Store, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.silent = False
        self._callbacks: list[Callable[[_Report], None]] = []
        self._election = internals(store).engine.election(key)  # kept: the engine refers weakly
        self._watch_leader = self._election.watch_leader
        monkeypatch.setattr(self._election, "watch_leader", self._start)

    def _start(self, on_change: Callable[[_Report], None]) -> Closable:
        self._callbacks.append(on_change)

        def pass_on(report: _Report) -> None:
            if not self.silent:
                on_change(report)

        return self._watch_leader(pass_on)

    def report(self, report: _Report) -> None:
        """Report this to the followers, as the store does."""
        for on_change in self._callbacks:
            on_change(report)
