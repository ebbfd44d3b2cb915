"""Entries: get, put, delete, exists, list and delete_tree."""

from __future__ import annotations

import random
import threading

from ...internals import internals
from ...store import Capability, Entry
from ..case import needs
from ..lab import Lab
from .expectations import is_equal, is_false, is_true

__all__ = ["EntryCases"]

_BINARY = bytes(range(256))


class EntryCases:
    """What a key holds."""

    def test_a_missing_key_is_none(self, lab: Lab) -> None:
        """Reading a key that was never written gives None, and an empty list of what is below."""
        key = lab.key("missing")
        is_equal(lab.store.get(key), None, "get")
        is_false(lab.store.exists(key), "exists")
        is_equal(lab.store.list(key), [], "list")
        is_false(lab.store.delete(key), "delete")

    def test_what_is_put_is_read(self, lab: Lab) -> None:
        """A put answers with the entry that every connection reads from then on."""
        key = lab.key("a")
        entry = lab.store.put(key, b"value")
        is_equal((entry.key, entry.value, entry.session), (key, b"value", None), "put")
        is_equal(lab.store.get(key), entry, "get")
        is_equal(lab.open().get(key), entry, "get from another connection")
        is_true(lab.store.exists(key), "exists")

        second = lab.open().put(key, b"other")
        is_equal(lab.store.get(key), second, "get after a put from another connection")

    def test_delete_says_whether_it_was_there(self, lab: Lab) -> None:
        """A deleted key is missing, for every connection, and deleting it again is no error."""
        key = lab.key("a")
        lab.store.put(key, b"value")
        is_true(lab.store.delete(key), "the first delete")
        is_false(lab.store.delete(key), "the second delete")
        is_equal(lab.open().get(key), None, "get after delete")
        is_false(lab.store.exists(key), "exists after delete")

    @needs(Capability.SESSIONS)
    def test_a_lock_exists_as_long_as_it_is_held(self, lab: Lab) -> None:
        """`exists` is true while somebody holds the lock, and false before and after that."""
        key, other = lab.key("lock"), lab.open()
        lock = lab.store.lock(key, "holder", ttl=lab.ttl)
        for _ in range(2):
            is_false(other.exists(key), "exists before")
            if lock.acquire(lab.ttl) is None:
                raise AssertionError("the lock was not acquired")
            is_true(lab.store.exists(key), "exists while it is held")
            is_true(other.exists(key), "exists, from another connection")
            is_true(lock.release(), "release")
            is_false(other.exists(key), "exists after the release")

    def test_any_bytes_come_back_as_they_were(self, lab: Lab) -> None:
        """An empty value, all bytes, and one of the largest size are kept as they are."""
        other = lab.open()
        largest = random.Random(1).randbytes(lab.max_value)
        for value in (b"", b"\0", _BINARY, b"text\n", b"\xff\xfe", largest):
            key = lab.key()
            entry = lab.store.put(key, value)
            is_equal(entry.value, value, "put")
            is_equal(other.get(key), entry, f"a value of {len(value)} bytes")
            is_equal(other.list(key.rpartition("/")[0])[-1].value, value, "and in a list")
            lab.store.delete(key)

    def test_an_empty_value_is_no_missing_key(self, lab: Lab) -> None:
        """A key with an empty value is there."""
        key = lab.key("a")
        lab.store.put(key, b"")
        is_true(lab.store.exists(key), "exists")
        found = lab.store.get(key)
        assert found is not None, "a key with an empty value reads as if it were missing"
        is_equal([entry.key for entry in lab.store.list(key.rpartition("/")[0])], [key], "list")

    def test_each_write_has_a_revision_of_its_own(self, lab: Lab) -> None:
        """A write changes the revision, to one that the key never had before its deletion either."""
        key = lab.key("a")
        revisions = [lab.store.put(key, b"%d" % number).revision for number in range(3)]
        for number in range(2):
            lab.store.delete(key)
            revisions.append(lab.store.put(key, b"again %d" % number).revision)
        assert len(set(revisions)) == len(revisions), f"a revision came twice: {revisions}"

    @needs(Capability.GLOBAL_REVISION)
    def test_revisions_grow_over_the_whole_store(self, lab: Lab) -> None:
        """Each write has a larger revision than all before it, whatever the key and the connection."""
        one, two, other = lab.key("a"), lab.key("b"), lab.open()
        revisions = [lab.store.put(one, b"1").revision, other.put(two, b"1").revision]
        lab.store.delete(one)
        other.delete(two)
        revisions += [other.put(one, b"2").revision, lab.store.put(two, b"2").revision]
        revisions.append(other.put(one, b"3").revision)
        assert revisions == sorted(set(revisions)), f"revisions do not grow: {revisions}"

    # -- what is below -------------------------------------------------------------------------

    def test_list_ends_at_the_slash(self, lab: Lab) -> None:
        """A list has all that is below the key, at any depth: not itself, nor what begins alike."""
        top = lab.key()
        below = [f"{top}/ab/c", f"{top}/ab/c/d", f"{top}/ab/x/y/z"]
        for key in [
            *below,
            f"{top}/ab",
            f"{top}/abc",
            f"{top}/abc/c",
            f"{top}/ab-/c",
            f"{top}/a/b",
        ]:
            lab.store.put(key, key.encode())

        found = lab.store.list(f"{top}/ab")
        is_equal([entry.key for entry in found], below, "keys below ab")
        is_equal([entry.value for entry in found], [k.encode() for k in below], "their values")
        is_equal(lab.store.list(f"{top}/ab/"), found, "with a slash at the end")
        is_equal(lab.store.list(f"{top}/ab/c/d"), [], "below a leaf")

    def test_list_is_in_the_order_of_the_keys(self, lab: Lab) -> None:
        """However they were written, entries are listed by key."""
        top = lab.key()
        keys = [f"{top}/{name}" for name in ("10", "2", "B", "a", "a-", "a/b", "a0", "b", "ä")]
        for key in random.Random(2).sample(keys, len(keys)):
            lab.store.put(key, b"")
        is_equal([entry.key for entry in lab.store.list(top)], keys, "listed")

    def test_listed_entries_are_what_get_reads(self, lab: Lab) -> None:
        """An entry out of a list is good for a compare-and-set."""
        top = lab.key()
        lab.store.put(f"{top}/a", b"1")
        lab.store.put(f"{top}/a", b"2")
        (listed,) = lab.store.list(top)
        is_equal(lab.store.get(f"{top}/a"), listed, "get and list")
        lab.store.put(f"{top}/a", b"3", expect=listed)

    def test_a_key_is_not_there_because_of_what_is_below(self, lab: Lab) -> None:
        """A key with something below it can be missing, be written and be deleted by itself."""
        top = lab.key()
        low = lab.store.put(f"{top}/a/b/c", b"low")
        is_equal(lab.store.get(f"{top}/a/b"), None, "get of what is between")
        is_false(lab.store.exists(f"{top}/a"), "exists of what is between")
        is_false(lab.store.delete(f"{top}/a/b"), "delete of what is between")
        is_equal(lab.store.list(top), [low], "list")

        middle = lab.store.put(f"{top}/a/b", b"middle")
        is_equal(lab.store.list(top), [middle, low], "list with a value between")
        is_true(lab.store.delete(f"{top}/a/b"), "delete of the value between")
        is_equal(lab.store.list(top), [low], "list after that")

    def test_delete_tree_takes_what_is_below(self, lab: Lab) -> None:
        """It deletes what a list has, and nothing else, and says how many that were."""
        top = lab.key()
        kept = [f"{top}/ab", f"{top}/abc", f"{top}/abc/d", f"{top}/b"]
        for key in [*kept, f"{top}/ab/c", f"{top}/ab/c/d", f"{top}/ab/e"]:
            lab.store.put(key, b"")
        is_equal(lab.store.delete_tree(f"{top}/ab"), 3, "the first delete_tree")
        is_equal([entry.key for entry in lab.store.list(top)], kept, "what is left")
        is_equal(lab.store.delete_tree(f"{top}/ab"), 0, "the second delete_tree")
        is_equal(lab.open().delete_tree(f"{top}/none/there"), 0, "delete_tree of nothing")

    def test_many_threads_at_once(self, lab: Lab) -> None:
        """Eight threads on two connections, each with keys of its own, do not disturb each other."""
        top, stores, errors = lab.key(), [lab.store, lab.open()], list[BaseException]()

        def work(number: int) -> None:
            store = stores[number % 2]
            try:
                for step in range(5):
                    key = f"{top}/{number}/{step}"
                    entry = store.put(key, key.encode())
                    is_equal(store.get(key), entry, "get")
                    mine = [one.key for one in store.list(f"{top}/{number}")]
                    is_equal(mine, [f"{top}/{number}/{n}" for n in range(step + 1)], "list")
            except BaseException as error:  # noqa: BLE001 - told in the thread of the case
                errors.append(error)

        threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        is_equal(len(lab.store.list(top)), 40, "entries of all threads")

    def test_a_raw_entry_has_the_whole_key(self, lab: Lab) -> None:
        """The plugin's store is given, and gives back, keys with the prefix of the URL."""
        key, backend = lab.key("a"), lab.backend()
        entry, full = lab.store.put(key, b"1"), internals(lab.store).full_key(key)
        raw = backend.get(full)
        is_equal(raw, Entry(full, b"1", entry.revision), "the plugin's get")
        above = full.rpartition("/")[0]
        is_equal(backend.list(above), [raw], "the plugin's list")
        is_equal(backend.put(full, b"2", expect=raw or entry).key, full, "the plugin's put")
        prefix = getattr(backend, "prefix", "")
        is_equal(full, f"{prefix}/{key}" if prefix else key, "the key with the prefix")
