"""Stores with one mistake each in their entries or watches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from leadership_core import ABSENT, ANY, Entry
from leadership_core.backend import DefaultElection, Election
from leadership_core.backend.clock import now
from leadership_core.backend.entries import Expected
from leadership_core.stores.memory import MemoryStore, State


class Broken(MemoryStore):
    """Base: a store without a mistake, whose elections run on itself."""

    election_class: Callable[[Broken, str], Election] = DefaultElection

    def __init__(self, state: State | None = None, prefix: str = "") -> None:
        super().__init__(state, prefix)
        self.races: dict[str, Election] = {}

    def election(self, key: str) -> Election:
        return self.races.setdefault(key, type(self).election_class(self, key))


class ListsByPrefix(Broken):
    """The list of `ab` contains `abc`."""

    def list(self, prefix: str) -> list[Entry]:
        above, _, _ = prefix.rpartition("/")
        return [entry for entry in super().list(above) if entry.key.startswith(prefix)]


class ListsInAnyOrder(Broken):
    """Lists are in the order of a hash table."""

    def list(self, prefix: str) -> list[Entry]:
        return sorted(super().list(prefix), key=lambda entry: hash(entry.key[::-1]))


class ListsChildrenOnly(Broken):
    """Lists have one level only, as in a file system."""

    def list(self, prefix: str) -> list[Entry]:
        return [e for e in super().list(prefix) if "/" not in e.key[len(prefix) + 1 :]]


class EmptyIsMissing(Broken):
    """An empty value reads as None."""

    def get(self, key: str) -> Entry | None:
        entry = super().get(key)
        return entry if entry and entry.value else None


class CutsValues(Broken):
    """Values are cut at their first zero byte."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        return super().put(key, value.split(b"\0")[0], **how)


class DeletesAlways(Broken):
    """Delete always returns True."""

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        super().delete(key, expect=expect)
        return True


class ComparesNothing(Broken):
    """The expected entry is ignored."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        if isinstance(how.get("expect"), Entry):
            how["expect"] = ANY
        return super().put(key, value, **how)


class ComparesTheValueOnly(Broken):
    """The revision is not compared, so an entry that was created again counts as the old one."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        now, expected = self.get(key), how.get("expect")
        if isinstance(expected, Entry) and now and now.value == expected.value:
            how["expect"] = now
        return super().put(key, value, **how)


class ReadsThenWrites(Broken):
    """It compares and writes in two steps."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        expect = how.pop("expect", ANY)
        if isinstance(expect, Entry):
            now = super().get(key)
            threading.Event().wait(0.001)
            if now != expect:
                return super().put(key, value, expect=expect, **how)
        elif expect is ABSENT:
            how["expect"] = ABSENT
        return super().put(key, value, **how)


class CreatesAlways(Broken):
    """ABSENT is treated as ANY."""

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        if how.get("expect") is ABSENT:
            how["expect"] = ANY
        return super().put(key, value, **how)


class CountsEachKey(Broken):
    """Revisions start again when the key was deleted."""

    def _mine(self, entry: Entry) -> Entry:
        return replace(entry, revision=entry.revision % 2 + 1)

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        if isinstance(how.get("expect"), Entry):
            how["expect"] = self._state.get(key) or how["expect"]
        return self._mine(super().put(key, value, **how))

    def get(self, key: str) -> Entry | None:
        entry = super().get(key)
        return None if entry is None else self._mine(entry)


class WatchesOnce(Broken):
    """Only the first change after the present state is reported, as by a one-shot watch."""

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        left = iter(range(2))
        return super().watch(
            key, lambda it: on_change(it) if next(left, None) is not None else None, tree=tree
        )


class WatchLosesTheLast(Broken):
    """A change soon after another one is not reported."""

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        told = [-1.0]

        def hear(change: Any) -> None:
            if now() - told[0] > 0.0005:
                told[0] = now()
                on_change(change)

        return super().watch(key, hear, tree=tree)


class WatchIgnoresDeletion(Broken):
    """A deletion is not reported."""

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        first = [True]

        def hear(change: Any) -> None:
            if change is not None or first[0]:
                on_change(change)
            first[0] = False

        return super().watch(key, hear, tree=tree)


class WatchNeedsTheKey(Broken):
    """A watch of a missing key never reports anything."""

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        there = tree or self.get(key) is not None
        return super().watch(key, on_change if there else lambda _: None, tree=tree)


class TreeWatchSeesNoValues(Broken):
    """New and deleted children are reported, changed ones are not."""

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        seen: list[Any] = [None]

        def hear(change: Any) -> None:
            keys = [entry.key for entry in change]
            if keys != seen[0]:
                seen[0] = keys
                on_change(change)

        return super().watch(key, hear if tree else on_change, tree=tree)


class WatchReportsAfterClose(Broken):
    """A closed watch goes on reporting."""

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        super().watch(key, on_change, tree=tree)
        return _Nothing()


class WatchDiesOfErrors(Broken):
    """A callback that raises is never called again."""

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        dead = list[Exception]()

        def hear(change: Any) -> None:
            if not dead:
                try:
                    on_change(change)
                except Exception as error:  # noqa: BLE001 - it is the mistake
                    dead.append(error)

        return super().watch(key, hear, tree=tree)


class _Nothing:
    def close(self) -> None:
        pass


class _Unwaiting:
    """A watch whose close skips later calls, and does not wait for the running one."""

    def __init__(self, on_change: Callable[[Any], None]) -> None:
        self._on_change = on_change
        self._closed = False

    def hear(self, change: Any) -> None:
        if not self._closed:
            self._on_change(change)

    def close(self) -> None:
        self._closed = True


class WatchCloseWaitsForNothing(Broken):
    """A callback under way goes on after close() has returned."""

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        watch = _Unwaiting(on_change)
        super().watch(key, watch.hear, tree=tree)
        return watch


class WatchCallsUnderItsLock(Broken):
    """The callback is called with the lock held that close() takes."""

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        lock = threading.Lock()

        def hear(change: Any) -> None:
            with lock:
                on_change(change)

        inner = super().watch(key, hear, tree=tree)
        return _ClosedUnder(lock, inner)


class _ClosedUnder:
    def __init__(self, lock: threading.Lock, inner: Any) -> None:
        self._lock, self._inner = lock, inner

    def close(self) -> None:
        held = self._lock.acquire(timeout=2.0)
        self._inner.close()
        if held:
            self._lock.release()
