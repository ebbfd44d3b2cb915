"""The counter in a store, and the guard of its writes: none, the store's fence, or stored tokens."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Protocol, cast

from leadership_core import ABSENT, Capability, Conflict, Entry, Fenced, Store, Term, open_store
from leadership_core.backend.protocols import StoreBackend
from leadership_core.backend.url import StoreURL
from leadership_core.registry import open_backend
from tests.support.backends import LEAST

__all__ = ["GUARDS", "Counter", "counter_in", "open_any"]

GUARDS = ("unfenced", "fence")
"""The guards of a write: the term was valid a moment ago, or the token is checked."""


def open_any(url: str) -> Store:
    """Open any store, also one without optional parts."""
    scheme, _, rest = url.partition(":")
    if scheme == LEAST:
        whole = open_backend(StoreURL.parse(f"sqlite:{rest}"))
        names = ("get", "list", "put", "delete", "watch", "open_session", "close")
        least = SimpleNamespace(**{name: getattr(whole, name) for name in names})
        return Store(cast("StoreBackend", least), url)
    return open_store(url)


class Counter(Protocol):
    """A number that leaders increment."""

    def read(self, term: Term) -> int:
        """Read the number; 0 if there is none yet.

        Raises:
            Fenced: a later term has been here.
        """

    def write(self, value: int, term: Term) -> None:
        """Set the number.

        Raises:
            Fenced: the term is over, or a later one has been here.
            StoreUnavailable: it may have been written.
        """


def counter_in(store: Store, key: str, guard: str) -> Counter:
    """The counter at a key, with one of `GUARDS`."""
    if guard == "fence" and Capability.FENCED_WRITES not in store.capabilities:
        return _Receiver(store, key)
    return _Number(store, key, fenced=guard == "fence")


class _Number:
    """A plain number, written with or without a fence."""

    def __init__(self, store: Store, key: str, *, fenced: bool) -> None:
        self._store, self._key, self._fenced = store, key, fenced

    def read(self, term: Term) -> int:
        entry = self._store.get(self._key)
        return int(entry.value) if entry is not None else 0

    def write(self, value: int, term: Term) -> None:
        fence = term if self._fenced else None
        self._store.put(self._key, str(value).encode(), fence=fence)


class _Receiver:
    """A resource that stores the largest token beside the number, and refuses smaller ones.

    What the store's fence does by itself, for resources that know nothing of elections. It must be
    shown the token on reading, too: from then on an older term cannot write what its reader does
    not know of.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key

    def read(self, term: Term) -> int:
        while True:
            entry, number = self._read(term)
            with suppress(Conflict):
                self._keep(entry, number, term)
                return number

    def write(self, value: int, term: Term) -> None:
        while True:
            entry, _ = self._read(term)
            with suppress(Conflict):
                self._keep(entry, value, term)
                return

    def _read(self, term: Term) -> tuple[Entry | None, int]:
        entry = self._store.get(self._key)
        number, _, token = b"0 0".partition(b" ") if entry is None else entry.value.partition(b" ")
        if int(token) > term.token:
            raise Fenced(f"the term with token {int(token)} has been here before {term.token}")
        return entry, int(number)

    def _keep(self, entry: Entry | None, number: int, term: Term) -> None:
        kept = f"{number} {term.token}".encode()
        if entry is None or entry.value != kept:
            self._store.put(self._key, kept, expect=ABSENT if entry is None else entry)
