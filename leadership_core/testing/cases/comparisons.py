"""Compare-and-set: expect= of put and delete."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ...errors import Conflict
from ...handle import StoreHandle
from ...store import ABSENT, Capability, Entry
from ..case import needs
from ..lab import Lab
from .expectations import is_equal, is_false, is_true, raises

__all__ = ["ComparisonCases"]

_ROUNDS = 20


class ComparisonCases:
    """A write that depends on what is there, in one atomic step."""

    def test_expecting_absence_creates_only(self, lab: Lab) -> None:
        """Of two that create a key the second is refused; after a deletion it can be made anew."""
        key, other = lab.key("deep/down/a"), lab.open()
        first = lab.store.put(key, b"1", expect=ABSENT)
        raises(Conflict, lambda: other.put(key, b"2", expect=ABSENT), "the second to create it")
        is_equal(other.get(key), first, "what is there")
        lab.store.delete(key)
        second = other.put(key, b"3", expect=ABSENT)
        is_equal(lab.store.get(key), second, "what is there then")

    def test_expecting_an_entry_writes_over_that_one_only(self, lab: Lab) -> None:
        """An entry that was written, deleted or made anew since is not the expected one."""
        key, store = lab.key("a"), lab.store
        first = store.put(key, b"1")
        second = lab.open().put(key, b"2", expect=first)
        raises(Conflict, lambda: store.put(key, b"3", expect=first), "over a newer entry")
        is_equal(store.get(key), second, "after a refused put")

        store.delete(key)
        raises(Conflict, lambda: store.put(key, b"3", expect=second), "over a deleted entry")
        is_equal(store.get(key), None, "after a refused put over nothing")
        again = store.put(key, b"2")
        raises(Conflict, lambda: store.put(key, b"3", expect=second), "over one made anew")
        is_equal(store.get(key), again, "after a refused put over one made anew")

    def test_a_falsified_revision_is_a_conflict(self, lab: Lab) -> None:
        """The right value with a revision that was never given writes and deletes nothing."""
        key, store = lab.key("a"), lab.store
        store.put(key, b"0")
        entry = store.put(key, b"1")
        for revision in (entry.revision + 1, entry.revision + 6744, max(0, entry.revision - 1)):
            false = replace(entry, revision=revision)
            raises(Conflict, lambda e=false: store.put(key, b"2", expect=e), f"put at {revision}")  # type: ignore[misc]
            raises(Conflict, lambda e=false: store.delete(key, expect=e), f"delete at {revision}")  # type: ignore[misc]
        is_equal(store.get(key), entry, "after all that")

    def test_delete_expecting_an_entry_deletes_that_one_only(self, lab: Lab) -> None:
        """An entry that was written since is kept; one that is gone already is no error."""
        key, store = lab.key("a"), lab.store
        first = store.put(key, b"1")
        second = store.put(key, b"2")
        raises(Conflict, lambda: store.delete(key, expect=first), "delete of a newer entry")
        raises(Conflict, lambda: store.delete(key, expect=ABSENT), "delete expecting absence")
        is_equal(store.get(key), second, "after refused deletes")
        is_true(lab.open().delete(key, expect=second), "delete of the expected one")
        is_false(store.delete(key, expect=second), "delete once more")
        is_false(store.delete(key, expect=ABSENT), "delete of nothing expecting absence")
        again = store.put(key, b"2")
        raises(Conflict, lambda: store.delete(key, expect=second), "delete of one made anew")
        is_equal(store.get(key), again, "what was made anew")

    def test_an_empty_value_can_be_expected(self, lab: Lab) -> None:
        """An empty value is compared like any other."""
        key, store = lab.key("a"), lab.store
        entry = store.put(key, b"", expect=ABSENT)
        raises(Conflict, lambda: store.put(key, b"1", expect=ABSENT), "creating it again")
        entry = store.put(key, b"1", expect=entry)
        is_true(store.delete(key, expect=entry), "delete")

    def test_of_many_that_write_over_one_entry_one_wins(self, lab: Lab) -> None:
        """Eight threads on two connections expect the same entry: one put, seven conflicts."""
        key, stores = lab.key("a"), [lab.store, lab.open()]
        first = lab.store.put(key, b"start")
        for expect in (first, ABSENT):
            if expect is ABSENT:
                lab.store.delete(key)
            barrier = threading.Barrier(8)

            def write(number: int, expect: object = expect, barrier: object = barrier) -> bool:
                barrier.wait()  # type: ignore[attr-defined]
                try:
                    stores[number % 2].put(key, b"%d" % number, expect=expect)  # type: ignore[arg-type]
                except Conflict:
                    return False
                return True

            won = _all_at_once([lambda n=n: write(n) for n in range(8)])  # type: ignore[misc]
            is_equal(won.count(True), 1, f"puts that succeeded of 8 expecting {expect}")
            found = lab.store.get(key)
            assert found is not None, "the key is gone although one has written it"
            is_equal(int(found.value), won.index(True), "the one whose value is there")

    @needs(Capability.SESSIONS, Capability.BOUND_COMPARISONS)
    def test_what_is_bound_again_is_not_what_was_bound(self, lab: Lab) -> None:
        """Compared while another connection deletes it and binds it again: that one is left alone."""
        key, other = lab.key("a"), lab.open()
        mine, session = lab.session(), lab.session(other)
        for number in range(_ROUNDS):
            old = lab.store.put(key, b"old", session=mine)
            barrier = threading.Barrier(2)

            def bind_again(barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                other.delete(key)
                other.put(key, b"new", session=session)
                return True

            def compare(old: Entry = old, barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                try:
                    lab.store.put(key, b"mine", expect=old, session=mine)
                except Conflict:
                    return False
                return True

            _all_at_once([bind_again, compare])
            found = lab.store.get(key)
            # A comparison that succeeds comes first, and what is bound then is written over it.
            is_equal(found and found.value, b"new", f"what is there after round {number}")
            is_false(compare(old, threading.Barrier(1)), "a put that is late")

    def test_a_counter_that_many_raise_loses_nothing(self, lab: Lab) -> None:
        """Each of six threads raises it eight times by compare-and-set, and it counts to 48."""
        key, stores = lab.key("n"), [lab.store, lab.open()]
        lab.store.put(key, b"0")

        def raise_it(store: StoreHandle) -> bool:
            for _ in range(8):
                _raise(store, key)
            return True

        _all_at_once([lambda n=n: raise_it(stores[n % 2]) for n in range(6)])  # type: ignore[misc]
        found = lab.store.get(key)
        is_equal(found and found.value, b"48", "the counter")


def _raise(store: StoreHandle, key: str) -> None:
    while True:
        entry = store.get(key)
        assert entry is not None, "the counter is gone"
        try:
            store.put(key, b"%d" % (int(entry.value) + 1), expect=entry)
        except Conflict:
            continue
        return


def _all_at_once(tasks: list[Callable[[], bool]]) -> list[bool]:
    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]
