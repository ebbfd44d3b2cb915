"""Cases of entries: get, put, delete, exists, list and delete_tree."""

from __future__ import annotations

import random
import threading

from ...backend.entries import Entry
from ...backend.protocols import Capability
from ...engine.store_base import internals
from ..case import needs
from ..sandbox import Sandbox
from .assertions import is_equal, is_false, is_true

__all__ = ["EntryCases"]

_BINARY = bytes(range(256))


class EntryCases:
    """Reads, writes and deletions of entries."""

    def test_missing_key_reads_as_none(self, sandbox: Sandbox) -> None:
        """Reading a key that was never written gives None, and listing it gives an empty list."""
        key = sandbox.key("missing")
        is_equal(sandbox.store.get(key), None, "get")
        is_false(sandbox.store.exists(key), "exists")
        is_equal(sandbox.store.list(key), [], "list")
        is_false(sandbox.store.delete(key), "delete")

    def test_put_returns_the_entry_that_is_read(self, sandbox: Sandbox) -> None:
        """Every connection reads the entry that a put returned."""
        key = sandbox.key("a")
        entry = sandbox.store.put(key, b"value")
        is_equal((entry.key, entry.value, entry.session), (key, b"value", None), "put")
        is_equal(sandbox.store.get(key), entry, "get")
        is_equal(sandbox.open().get(key), entry, "get from another connection")
        is_true(sandbox.store.exists(key), "exists")

        second = sandbox.open().put(key, b"other")
        is_equal(sandbox.store.get(key), second, "get after a put from another connection")

    def test_delete_returns_whether_the_key_existed(self, sandbox: Sandbox) -> None:
        """A deleted key is missing for every connection, and deleting it again is no error."""
        key = sandbox.key("a")
        sandbox.store.put(key, b"value")
        is_true(sandbox.store.delete(key), "the first delete")
        is_false(sandbox.store.delete(key), "the second delete")
        is_equal(sandbox.open().get(key), None, "get after delete")
        is_false(sandbox.store.exists(key), "exists after delete")

    @needs(Capability.SESSIONS)
    def test_lock_key_exists_while_the_lock_is_held(self, sandbox: Sandbox) -> None:
        """`exists` is true while the lock is held, and false before and after that."""
        key, other = sandbox.key("lock"), sandbox.open()
        lock = sandbox.store.lock(key, "holder", ttl=sandbox.ttl)
        for _ in range(2):
            is_false(other.exists(key), "exists before")
            if lock.acquire(sandbox.ttl) is None:
                raise AssertionError("the lock was not acquired")
            is_true(sandbox.store.exists(key), "exists while it is held")
            is_true(other.exists(key), "exists, from another connection")
            is_true(lock.release(), "release")
            is_false(other.exists(key), "exists after the release")

    def test_values_are_kept_byte_for_byte(self, sandbox: Sandbox) -> None:
        """An empty value, all bytes, and a value of the largest size are read as they were written."""
        other = sandbox.open()
        largest = random.Random(1).randbytes(sandbox.max_value)
        for value in (b"", b"\0", _BINARY, b"text\n", b"\xff\xfe", largest):
            key = sandbox.key()
            entry = sandbox.store.put(key, value)
            is_equal(entry.value, value, "put")
            is_equal(other.get(key), entry, f"a value of {len(value)} bytes")
            is_equal(other.list(key.rpartition("/")[0])[-1].value, value, "and in a list")
            sandbox.store.delete(key)

    def test_empty_value_exists(self, sandbox: Sandbox) -> None:
        """A key with an empty value exists."""
        key = sandbox.key("a")
        sandbox.store.put(key, b"")
        is_true(sandbox.store.exists(key), "exists")
        found = sandbox.store.get(key)
        assert found is not None, "a key with an empty value reads as if it were missing"
        is_equal([entry.key for entry in sandbox.store.list(key.rpartition("/")[0])], [key], "list")

    def test_each_write_has_its_own_revision(self, sandbox: Sandbox) -> None:
        """A write changes the revision, to one that the key never had, not even before its deletion."""
        key = sandbox.key("a")
        revisions = [sandbox.store.put(key, b"%d" % number).revision for number in range(3)]
        for number in range(2):
            sandbox.store.delete(key)
            revisions.append(sandbox.store.put(key, b"again %d" % number).revision)
        assert len(set(revisions)) == len(revisions), f"a revision came twice: {revisions}"

    @needs(Capability.GLOBAL_REVISION)
    def test_revisions_grow_over_the_whole_store(self, sandbox: Sandbox) -> None:
        """Each write has a larger revision than all before it, for any key and connection."""
        one, two, other = sandbox.key("a"), sandbox.key("b"), sandbox.open()
        revisions = [sandbox.store.put(one, b"1").revision, other.put(two, b"1").revision]
        sandbox.store.delete(one)
        other.delete(two)
        revisions += [other.put(one, b"2").revision, sandbox.store.put(two, b"2").revision]
        revisions.append(other.put(one, b"3").revision)
        assert revisions == sorted(set(revisions)), f"revisions do not grow: {revisions}"

    # -- what is below -------------------------------------------------------------------------

    def test_list_ends_at_the_slash(self, sandbox: Sandbox) -> None:
        """A list has all keys below the key, at any depth: neither itself nor keys with the same beginning."""
        top = sandbox.key()
        below = [f"{top}/ab/c", f"{top}/ab/c/d", f"{top}/ab/x/y/z"]
        for key in [
            *below,
            f"{top}/ab",
            f"{top}/abc",
            f"{top}/abc/c",
            f"{top}/ab-/c",
            f"{top}/ab0",
            f"{top}/ab!/c",
            f"{top}/abé/c",
            f"{top}/a/b",
        ]:
            sandbox.store.put(key, key.encode())

        found = sandbox.store.list(f"{top}/ab")
        is_equal([entry.key for entry in found], below, "keys below ab")
        is_equal([entry.value for entry in found], [k.encode() for k in below], "their values")
        is_equal(sandbox.store.list(f"{top}/ab/"), found, "with a slash at the end")
        is_equal(sandbox.store.list(f"{top}/ab/c/d"), [], "below a leaf")

    def test_list_is_in_the_order_of_the_keys(self, sandbox: Sandbox) -> None:
        """Entries are listed by key, in whatever order they were written."""
        top = sandbox.key()
        keys = [f"{top}/{name}" for name in ("10", "2", "B", "a", "a-", "a/b", "a0", "b", "ä")]
        for key in random.Random(2).sample(keys, len(keys)):
            sandbox.store.put(key, b"")
        is_equal([entry.key for entry in sandbox.store.list(top)], keys, "listed")

    def test_list_returns_the_entries_that_get_reads(self, sandbox: Sandbox) -> None:
        """A listed entry can be expected in a compare-and-set."""
        top = sandbox.key()
        sandbox.store.put(f"{top}/a", b"1")
        sandbox.store.put(f"{top}/a", b"2")
        (listed,) = sandbox.store.list(top)
        is_equal(sandbox.store.get(f"{top}/a"), listed, "get and list")
        sandbox.store.put(f"{top}/a", b"3", expect=listed)

    def test_key_above_an_entry_does_not_exist_by_itself(self, sandbox: Sandbox) -> None:
        """A key with entries below it can be missing, be written, and be deleted by itself."""
        top = sandbox.key()
        low = sandbox.store.put(f"{top}/a/b/c", b"low")
        is_equal(sandbox.store.get(f"{top}/a/b"), None, "get of what is between")
        is_false(sandbox.store.exists(f"{top}/a"), "exists of what is between")
        is_false(sandbox.store.delete(f"{top}/a/b"), "delete of what is between")
        is_equal(sandbox.store.list(top), [low], "list")

        middle = sandbox.store.put(f"{top}/a/b", b"middle")
        is_equal(sandbox.store.list(top), [middle, low], "list with a value between")
        is_true(sandbox.store.delete(f"{top}/a/b"), "delete of the value between")
        is_equal(sandbox.store.list(top), [low], "list after that")

    def test_delete_tree_deletes_all_keys_below(self, sandbox: Sandbox) -> None:
        """It deletes what a list has, and nothing else, and returns their number."""
        top = sandbox.key()
        kept = [f"{top}/ab", f"{top}/abc", f"{top}/abc/d", f"{top}/b"]
        for key in [*kept, f"{top}/ab/c", f"{top}/ab/c/d", f"{top}/ab/e"]:
            sandbox.store.put(key, b"")
        is_equal(sandbox.store.delete_tree(f"{top}/ab"), 3, "the first delete_tree")
        is_equal([entry.key for entry in sandbox.store.list(top)], kept, "what is left")
        is_equal(sandbox.store.delete_tree(f"{top}/ab"), 0, "the second delete_tree")
        is_equal(sandbox.open().delete_tree(f"{top}/none/there"), 0, "delete_tree of nothing")

    def test_threads_do_not_disturb_each_other(self, sandbox: Sandbox) -> None:
        """Eight threads on two connections, each with its own keys, read what they wrote."""
        top, stores, errors = sandbox.key(), [sandbox.store, sandbox.open()], list[BaseException]()

        def work(number: int) -> None:
            store = stores[number % 2]
            try:
                for step in range(5):
                    key = f"{top}/{number}/{step}"
                    entry = store.put(key, key.encode())
                    is_equal(store.get(key), entry, "get")
                    mine = [one.key for one in store.list(f"{top}/{number}")]
                    is_equal(mine, [f"{top}/{number}/{n}" for n in range(step + 1)], "list")
            except BaseException as error:  # noqa: BLE001 - raised in the thread of the case
                errors.append(error)

        threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        is_equal(len(sandbox.store.list(top)), 40, "entries of all threads")

    def test_backend_keys_have_the_prefix_of_the_url(self, sandbox: Sandbox) -> None:
        """The plugin's store takes and returns keys with the prefix of the URL."""
        key, backend = sandbox.key("a"), sandbox.backend()
        entry, full = sandbox.store.put(key, b"1"), internals(sandbox.store).namespace.full(key)
        raw = backend.get(full)
        is_equal(raw, Entry(full, b"1", entry.revision), "the plugin's get")
        above = full.rpartition("/")[0]
        is_equal(backend.list(above), [raw], "the plugin's list")
        is_equal(backend.put(full, b"2", expect=raw or entry).key, full, "the plugin's put")
        prefix = getattr(backend, "prefix", "")
        is_equal(full, f"{prefix}/{key}" if prefix else key, "the key with the prefix")
