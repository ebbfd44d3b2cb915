"""Which client a store of a run gets, although all processes share one module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from .primitives import Threading

__all__ = ["CLIENTS"]

_Make = Callable[[Any], Any]  # from the store's options, a client


class _Clients:
    """The makers of clients, by the task that is opening a store.

    Tasks take turns in the middle of opening a store, so the name in the backend's module is put
    up once for a whole run: one who put it up for itself would put back what another had put there.
    """

    def __init__(self) -> None:
        self._makers: dict[Any, _Make] = {}

    @contextmanager
    def on_stage(self, where: str) -> Iterator[None]:
        """While this lasts, that name makes the clients of the run.

        Args:
            where: such as "leadership_etcd.store.Client".
        """
        with mock.patch(where, self._make):
            yield
        self._makers.clear()

    def _make(self, options: Any) -> Any:
        return self._makers[Threading.world.current](options)

    @contextmanager
    def made_by(self, make: _Make) -> Iterator[None]:
        """Let the stores that the calling task opens have clients made like this."""
        task = Threading.world.current
        self._makers[task] = make
        try:
            yield
        finally:
            del self._makers[task]


CLIENTS = _Clients()
