"""Cases of compare-and-set: `expect=` of put and delete."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from ...backend.entries import ABSENT, Entry
from ...backend.protocols import Capability
from ...errors import Conflict
from ...store import Store
from ..case import needs
from ..sandbox import Sandbox
from .assertions import is_equal, is_false, is_true, raises

__all__ = ["CompareAndSetCases"]

_ROUNDS = 20


class CompareAndSetCases:
    """Conditional writes and deletions."""

    def test_put_expecting_absence_only_creates(self, sandbox: Sandbox) -> None:
        """The second of two such writes is refused; after a deletion the key can be created again."""
        key, other = sandbox.key("deep/down/a"), sandbox.open()
        first = sandbox.store.put(key, b"1", expect=ABSENT)
        raises(Conflict, lambda: other.put(key, b"2", expect=ABSENT), "the second to create it")
        is_equal(other.get(key), first, "what is there")
        sandbox.store.delete(key)
        second = other.put(key, b"3", expect=ABSENT)
        is_equal(sandbox.store.get(key), second, "what is there then")

    def test_put_expecting_an_entry_only_replaces_that_entry(self, sandbox: Sandbox) -> None:
        """An entry that was written, deleted or created again since is not the expected one."""
        key, store = sandbox.key("a"), sandbox.store
        first = store.put(key, b"1")
        second = sandbox.open().put(key, b"2", expect=first)
        raises(Conflict, lambda: store.put(key, b"3", expect=first), "over a newer entry")
        is_equal(store.get(key), second, "after a refused put")

        store.delete(key)
        raises(Conflict, lambda: store.put(key, b"3", expect=second), "over a deleted entry")
        is_equal(store.get(key), None, "after a refused put over nothing")
        again = store.put(key, b"2")
        raises(Conflict, lambda: store.put(key, b"3", expect=second), "over one created again")
        is_equal(store.get(key), again, "after a refused put over one created again")

    def test_forged_revision_is_a_conflict(self, sandbox: Sandbox) -> None:
        """The right value with a revision that was never assigned writes and deletes nothing."""
        key, store = sandbox.key("a"), sandbox.store
        store.put(key, b"0")
        entry = store.put(key, b"1")
        for revision in (entry.revision + 1, entry.revision + 6744, max(0, entry.revision - 1)):
            false = replace(entry, revision=revision)
            raises(Conflict, lambda e=false: store.put(key, b"2", expect=e), f"put at {revision}")  # type: ignore[misc]  # mypy infers no lambda with defaults
            raises(Conflict, lambda e=false: store.delete(key, expect=e), f"delete at {revision}")  # type: ignore[misc]  # mypy infers no lambda with defaults
        is_equal(store.get(key), entry, "after all that")

    def test_delete_expecting_an_entry_only_deletes_that_entry(self, sandbox: Sandbox) -> None:
        """An entry that was written since is kept; one that is already gone is no error."""
        key, store = sandbox.key("a"), sandbox.store
        first = store.put(key, b"1")
        second = store.put(key, b"2")
        raises(Conflict, lambda: store.delete(key, expect=first), "delete of a newer entry")
        raises(Conflict, lambda: store.delete(key, expect=ABSENT), "delete expecting absence")
        is_equal(store.get(key), second, "after refused deletes")
        is_true(sandbox.open().delete(key, expect=second), "delete of the expected one")
        is_false(store.delete(key, expect=second), "delete once more")
        is_false(store.delete(key, expect=ABSENT), "delete of nothing expecting absence")
        again = store.put(key, b"2")
        raises(Conflict, lambda: store.delete(key, expect=second), "delete of one created again")
        is_equal(store.get(key), again, "what was created again")

    def test_empty_value_can_be_expected(self, sandbox: Sandbox) -> None:
        """An empty value is compared like any other."""
        key, store = sandbox.key("a"), sandbox.store
        entry = store.put(key, b"", expect=ABSENT)
        raises(Conflict, lambda: store.put(key, b"1", expect=ABSENT), "creating it again")
        entry = store.put(key, b"1", expect=entry)
        is_true(store.delete(key, expect=entry), "delete")

    def test_one_of_many_conditional_writes_succeeds(self, sandbox: Sandbox) -> None:
        """Eight threads on two connections expect the same entry: one put succeeds, seven conflict."""
        key, stores = sandbox.key("a"), [sandbox.store, sandbox.open()]
        first = sandbox.store.put(key, b"start")
        for expect in (first, ABSENT):
            if expect is ABSENT:
                sandbox.store.delete(key)
            barrier = threading.Barrier(8)

            def write(
                number: int, expect: object = expect, barrier: threading.Barrier = barrier
            ) -> bool:
                barrier.wait()
                try:
                    stores[number % 2].put(key, b"%d" % number, expect=expect)  # type: ignore[arg-type]  # an Entry or ABSENT, in turn
                except Conflict:
                    return False
                return True

            won = _all_at_once([lambda n=n: write(n) for n in range(8)])  # type: ignore[misc]  # mypy infers no lambda with defaults
            is_equal(won.count(True), 1, f"puts that succeeded of 8 expecting {expect}")
            found = sandbox.store.get(key)
            assert found is not None, "the key is gone although one has written it"
            is_equal(int(found.value), won.index(True), "the one whose value is there")

    @needs(Capability.SESSIONS, Capability.BOUND_COMPARISONS)
    def test_entry_bound_again_is_not_the_expected_entry(self, sandbox: Sandbox) -> None:
        """It is compared while another connection deletes it and binds it again: the new one is kept."""
        key, other = sandbox.key("a"), sandbox.open()
        mine, session = sandbox.session(), sandbox.session(other)
        for number in range(_ROUNDS):
            old = sandbox.store.put(key, b"old", session=mine)
            barrier = threading.Barrier(2)

            def bind_again(barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                other.delete(key)
                other.put(key, b"new", session=session)
                return True

            def compare(old: Entry = old, barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                try:
                    sandbox.store.put(key, b"mine", expect=old, session=mine)
                except Conflict:
                    return False
                return True

            _all_at_once([bind_again, compare])
            found = sandbox.store.get(key)
            # A comparison that succeeds comes first, and what is bound then is written over it.
            is_equal(found and found.value, b"new", f"what is there after round {number}")
            is_false(compare(old, threading.Barrier(1)), "a put that is late")

    def test_concurrent_increments_lose_nothing(self, sandbox: Sandbox) -> None:
        """Each of six threads increments eight times by compare-and-set, and the result is 48."""
        key, stores = sandbox.key("n"), [sandbox.store, sandbox.open()]
        sandbox.store.put(key, b"0")

        def raise_it(store: Store) -> bool:
            increments = 0
            while increments < 8:
                entry = store.get(key)
                assert entry is not None, "the counter is gone"
                with suppress(Conflict):
                    store.put(key, b"%d" % (int(entry.value) + 1), expect=entry)
                    increments += 1
            return True

        _all_at_once([lambda n=n: raise_it(stores[n % 2]) for n in range(6)])  # type: ignore[misc]  # mypy infers no lambda with defaults
        found = sandbox.store.get(key)
        is_equal(found and found.value, b"48", "the counter")


def _all_at_once(tasks: list[Callable[[], bool]]) -> list[bool]:
    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]
