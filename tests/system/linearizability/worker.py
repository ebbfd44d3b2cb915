"""Program that makes random calls to a store in several threads, and records them.

Keys are in use for a few seconds only: an operation without an answer may take effect at any time,
so each of them makes a history harder to judge. SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from leadership_core import ABSENT, ANY, Capability, Conflict, Fenced, LeadershipError, open_store
from leadership_core.backend.entries import Entry
from leadership_core.errors import NotApplied
from leadership_core.store import Store
from tests.system.linearizability.records import Record, Recorder, described, folder_of_now
from tests.system.linearizability.terms import Terms

__all__ = ["KEYS", "TREE", "Actor"]

T = TypeVar("T")

KEYS = ("k0", "k1", "s0")
"""Below ``r`` of each folder: written by all threads, the last one also with a session."""

TREE = ("a", "b", "c")
"""Below ``t`` of each folder."""

_END = 8.0  # seconds for all threads to end what they are at
_PAUSE = 0.012  # seconds between two operations of a thread, at most


class Actor:
    """The calls of one thread to the store.

    Args:
        store: opened by the process.
        recorder: of the process.
        seed: of what it does.
        bound: whether entries that are bound to a session may be compared.
    """

    def __init__(self, store: Store, recorder: Recorder, seed: str, *, bound: bool) -> None:
        self.store, self.recorder = store, recorder
        self.rng = random.Random(seed)
        self.known: dict[str, Entry] = {}
        self._bound = bound
        self._name = seed
        self._written = 0

    def value(self) -> str:
        """A value that no other call writes."""
        self._written += 1
        return f"{self._name}.{self._written}"

    def act(self) -> None:
        """Make one call about one of the keys."""
        folder = folder_of_now()
        if folder not in next(iter(self.known), ""):
            self.known.clear()
        key = f"{folder}/r/{self.rng.choice(KEYS)}"
        actions = [self._get, self._put, self._compare, self._create, self._delete, self._remove]
        actions.append(self._list)
        self.rng.choices(actions, weights=[4, 2, 4, 2, 1, 1, 2])[0](key)

    def act_on_tree(self) -> None:
        """Make one call about several keys that are read together."""
        folder = f"{folder_of_now()}/t"
        key = f"{folder}/{self.rng.choice(TREE)}"
        what = self.rng.choices(["put", "delete", "list", "wipe"], weights=[5, 2, 4, 1])[0]
        if what == "put":
            self._write(key, expect="any")
        elif what == "delete":
            self._delete(key)
        elif what == "list":
            self._list(f"{key}")
        else:
            self.done(
                "wipe", folder, lambda: self.store.delete_tree(folder), lambda _: ("done", {})
            )

    # -- one operation each ------------------------------------------------------------------

    def _get(self, key: str) -> None:
        def outcome(found: Entry | None) -> tuple[str, Record]:
            if found is None:
                return "absent", {}
            self.known[key] = found
            return "found", {"new": described(found)}

        self.done("get", key, lambda: self.store.get(key), outcome)

    def _list(self, key: str) -> None:
        folder = key.rpartition("/")[0]

        def outcome(found: list[Entry]) -> tuple[str, Record]:
            return "found", {"entries": {one.key: described(one) for one in found}}

        self.done("list", folder, lambda: self.store.list(folder), outcome)

    def _put(self, key: str) -> None:
        self._write(key, expect="any")

    def _create(self, key: str) -> None:
        self._write(key, expect="absent")

    def _compare(self, key: str) -> None:
        old = self.known.get(key)
        if old is not None and (self._bound or old.session is None):
            self._write(key, expect="entry", old=old)

    def _write(self, key: str, *, expect: str, old: Entry | None = None) -> None:
        value = self.value()
        expected = old if old is not None else {"any": ANY, "absent": ABSENT}[expect]

        def outcome(found: Entry) -> tuple[str, Record]:
            self.known[key] = found
            return "done", {"new": described(found)}

        what = {"expect": expect, "new": {"value": value, "revision": 0, "session": ""}}
        if old is not None:
            what["old"] = described(old)
        self.done(
            "put",
            key,
            lambda: self.store.put(key, value.encode(), expect=expected),
            outcome,
            **what,
        )

    def _delete(self, key: str) -> None:
        self.done("delete", key, lambda: self.store.delete(key), _deleted, expect="any")

    def _remove(self, key: str) -> None:
        old = self.known.get(key)
        if old is None or not (self._bound or old.session is None):
            return
        what = {"expect": "entry", "old": described(old)}
        self.done("delete", key, lambda: self.store.delete(key, expect=old), _deleted, **what)

    def done(
        self,
        op: str,
        key: str,
        do: Callable[[], T],
        outcome: Callable[[T], tuple[str, Record]],
        **what: object,
    ) -> T | None:
        """Make the call, and record it before and after."""
        number = self.recorder.call(op, key, **what)
        try:
            found = do()
        except Fenced:
            self.recorder.returned(number, "fenced")
        except Conflict:
            self.recorder.returned(number, "conflict")
        except NotApplied:
            self.recorder.returned(number, "not done")
        except LeadershipError:
            return None  # unknown
        else:
            name, more = outcome(found)
            self.recorder.returned(number, name, **more)
            return found
        return None


def _deleted(was_there: bool) -> tuple[str, Record]:
    return ("done" if was_there else "absent"), {}


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("who")
    parser.add_argument("file", type=Path)
    parser.add_argument("--ttl", type=float, required=True)
    args = parser.parse_args()

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    recorder = Recorder(args.file, args.who)
    store = open_store(args.url)

    def actor(name: str) -> Actor:
        bound = Capability.BOUND_COMPARISONS in store.capabilities
        return Actor(store, recorder, f"{args.who}.{name}", bound=bound)

    first, second, trees = actor("1"), actor("2"), actor("t")
    terms = Terms(actor("e"), args.who, args.ttl)
    loops: list[tuple[Callable[[], None], float]] = [
        (first.act, _PAUSE),
        (second.act, _PAUSE),
        (trees.act_on_tree, _PAUSE),
        (terms.campaign, 0.0),
        (terms.bind, 0.0),
        (terms.watch, 0.0),
    ]

    def run(do: Callable[[], None], pause: float) -> None:
        rng = random.Random(args.who)
        try:
            while not over.is_set():
                do()
                over.wait(rng.uniform(0, pause))
        except BaseException as error:
            recorder.note("error", "", says=repr(error))
            raise

    threads = [threading.Thread(target=run, args=one, daemon=True) for one in loops]
    for thread in threads:
        thread.start()
    over.wait()
    until = time.monotonic() + _END
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    store.close(1.0)
    recorder.note("ended", "")
    os._exit(0)  # what hangs was written down as such


if __name__ == "__main__":
    main()
