"""States that are told again after every change: read once, then kept up to date by events."""

from __future__ import annotations

import logging
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from leadership_core import clock
from leadership_core.delivery import WatchDelivery
from leadership_core.errors import StoreClosed, StoreUnavailable
from leadership_core.store import Change, Entry, Leader
from leadership_core.timing import Pace

from .claim import names_claim
from .client import Client
from .entries import entry_of, read_below
from .errands import Errands
from .messages import below, encode, is_deletion, read
from .methods import RANGE
from .queue import Queue
from .stream import Watch
from .watcher import Watcher

__all__ = ["EntryView", "LeaderView", "TreeView", "leader_of"]

log = logging.getLogger(__name__)

_CAP = 2.0  # seconds, the longest backoff

_Where = tuple[bytes, bytes]


class _View(ABC):
    """A state, read and then watched.

    One thread at a time is at it: that of the errands until it has read the state and begun to
    watch, then that of the watcher until it has to be read again.
    """

    def __init__(
        self, watcher: Watcher, errands: Errands, on_change: Callable[[Any], None]
    ) -> None:
        self._watcher = watcher
        self._errands = errands
        self._delivery = WatchDelivery(on_change, self._leave)
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._failures = 0
        self._pace = Pace()  # of looks, whatever the watch finds new each time
        watcher.add_delivery(self._delivery)
        errands.add(self._look)

    @abstractmethod
    def _read(self) -> tuple[Any, int, _Where]:
        """The state, the revision as of which it is, and where it may change."""

    @abstractmethod
    def changed(self, events: Sequence[Any]) -> None: ...

    def close(self) -> None:
        """End the calls; see `WatchDelivery.close`."""
        self._delivery.close()

    def _leave(self) -> None:
        self._stop_watching()

    def away(self, error: StoreUnavailable) -> None:
        self._tell(error)

    def back(self) -> None:
        self.gap()  # the next call is to say how it is, and not how it was

    def gap(self) -> None:
        self._stop_watching()
        self._errands.add(self._look, self._pace.wait(clock.now()))

    def _look(self) -> None:
        self._stop_watching()  # two gaps may have asked for this, one after the other
        try:
            self._look_once()
        except StoreClosed:
            pass
        except StoreUnavailable as error:
            self._look_again(error)
        except Exception as error:  # whatever it is, the watch goes on
            log.exception("A watch has failed")
            self._look_again(StoreUnavailable(f"a watch has failed: {error!r}"))

    def _look_once(self) -> None:
        if self._delivery.closed:
            return
        self._pace.spend(clock.now())
        state, revision, (key, end) = self._read()
        self._failures = 0
        self._tell(state)
        # The first event may come, and ask for another look, before `open` has returned: with the
        # lock, it finds the watch that it has to close.
        with self._lock:
            if not self._delivery.closed:
                self._watch = self._watcher.open(key, end, revision, self)

    def _look_again(self, error: StoreUnavailable) -> None:
        self._tell(error)
        self._failures += 1
        most = min(_CAP, 0.05 * 2.0 ** min(self._failures, 10))
        self._errands.add(self._look, random.uniform(0, most))

    def _stop_watching(self) -> None:
        with self._lock:
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _tell(self, change: Any) -> None:
        self._delivery.publish(change)


class EntryView(_View):
    """The entry at a key."""

    def __init__(
        self,
        client: Client,
        watcher: Watcher,
        errands: Errands,
        key: str,
        on_change: Callable[[Change], None],
    ) -> None:
        self._client = client
        self._key = encode(key)
        super().__init__(watcher, errands, on_change)

    def _read(self) -> tuple[Entry | None, int, _Where]:
        found = self._client.call(RANGE, read(self._key))
        entry = entry_of(found.kvs[0]) if found.kvs else None
        return entry, found.header.revision, (self._key, b"")

    def changed(self, events: Sequence[Any]) -> None:
        last = events[-1]
        self._tell(None if is_deletion(last) else entry_of(last.kv))


class TreeView(_View):
    """All entries below a key."""

    def __init__(
        self,
        client: Client,
        watcher: Watcher,
        errands: Errands,
        prefix: str,
        on_change: Callable[[Change], None],
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._entries: dict[bytes, Entry] = {}
        super().__init__(watcher, errands, on_change)

    def _read(self) -> tuple[list[Entry], int, _Where]:
        found, revision = read_below(self._client, self._prefix)
        self._entries = {kv.key: entry_of(kv) for kv in found}
        return self._state(), revision, below(self._prefix)

    def changed(self, events: Sequence[Any]) -> None:
        for event in events:
            if is_deletion(event):
                self._entries.pop(event.kv.key, None)
            else:
                self._entries[event.kv.key] = entry_of(event.kv)
        self._tell(self._state())

    def _state(self) -> list[Entry]:
        return [entry for _, entry in sorted(self._entries.items())]


class LeaderView(_View):
    """Who leads an election.

    It listens to the leader's key alone, and to all of them only while nobody leads. So those
    that come and go in the queue behind the leader cost nothing here.
    """

    def __init__(
        self,
        watcher: Watcher,
        errands: Errands,
        key: str,
        queue: Queue,
        on_change: Callable[[Leader | StoreUnavailable | None], None],
    ) -> None:
        self._key = key
        self._queue = queue
        self._leads = False
        super().__init__(watcher, errands, on_change)

    def _read(self) -> tuple[Leader | None, int, _Where]:
        first, revision = self._queue.first()
        self._leads = first is not None
        where = below(self._key) if first is None else (first.key, b"")
        return leader_of(first), revision, where

    def changed(self, events: Sequence[Any]) -> None:
        if self._leads or any(
            not is_deletion(event) and names_claim(self._key, event.kv.key) for event in events
        ):
            self.gap()


def leader_of(kv: Any | None) -> Leader | None:
    """The leader whose claim this is."""
    return None if kv is None else Leader.of(kv.value, kv.create_revision)
