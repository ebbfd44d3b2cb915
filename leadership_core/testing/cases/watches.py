"""Watches of a key, and of all that is below one."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from ...store import Entry
from ..heard import Heard
from ..lab import Lab
from .expectations import is_equal

__all__ = ["WatchCases"]

_MOMENT = 0.15  # seconds for something that must not happen


class WatchCases:
    """The state of now, and then every last state."""

    def test_a_watch_begins_with_the_state_of_now(self, lab: Lab) -> None:
        """The first thing that it tells is the entry as it is, not the next change."""
        key, heard = lab.key("a"), Heard()
        entry = lab.open().put(key, b"1")
        lab.at_end(lab.store.watch(key, heard).close)
        assert heard.last_is(entry), f"{entry}: {heard}"
        is_equal(heard.states[0], entry, "the first state told")

    def test_a_watch_of_a_missing_key_tells_its_whole_life(self, lab: Lab) -> None:
        """None at first; then created, changed, deleted and created again by another connection."""
        key, heard, other = lab.key("not/yet/there"), Heard(), lab.open()
        lab.at_end(lab.store.watch(key, heard).close)
        assert heard.last_is(None), f"the missing key: {heard}"
        for value in (b"1", b"2", None, b"3", None, b""):
            state = _write(other, key, value)
            assert heard.last_is(state), f"{state} was not told: {heard}"

    def test_a_watch_tells_the_last_state_of_a_storm(self, lab: Lab) -> None:
        """States in between may be missed, the last one never; nor does it go back in time."""
        key, heard, stores = lab.key("a"), Heard(), [lab.store, lab.open()]
        lab.at_end(lab.store.watch(key, heard).close)
        for round_ in range(3):
            for number in range(12):
                _write(stores[number % 2], key, b"%d/%d" % (round_, number) if number % 5 else None)
            last = stores[1].get(key)
            assert heard.last_is(last), f"round {round_} ended with {last}: {heard}"
        values = [state.value for state in heard.states if state is not None]
        told = [tuple(map(int, value.split(b"/"))) for value in values]
        is_equal(told, sorted(told), "the order in which it was told")

    def test_a_change_at_the_moment_of_watching_is_told(self, lab: Lab) -> None:
        """A write between the first look and the watch is not missed."""
        other = lab.open()
        for _ in range(8):
            key, heard = lab.key("a"), Heard()
            other.put(key, b"before")
            writer = threading.Thread(target=other.put, args=[key, b"after"])
            writer.start()
            watch = lab.store.watch(key, heard)
            writer.join()
            told = heard.last(lambda last: last is not None and last.value == b"after")
            watch.close()
            assert told, f"a write at the moment of watching was missed: {heard}"

    def test_a_watch_hears_of_its_key_only(self, lab: Lab) -> None:
        """Neither of keys that begin alike nor of what is below."""
        top, heard, other = lab.key(), Heard(), lab.open()
        entry = lab.store.put(f"{top}/ab", b"1")
        lab.at_end(lab.store.watch(f"{top}/ab", heard).close)
        assert heard.last_is(entry), f"the first state: {heard}"
        for key in (f"{top}/abc", f"{top}/ab/c", f"{top}/a", top):
            other.put(key, b"other")
        last = other.put(f"{top}/ab", b"2")
        assert heard.last_is(last), f"its own change after those of others: {heard}"
        is_equal({state.key for state in heard.states}, {f"{top}/ab"}, "keys it was told of")

    # -- trees ---------------------------------------------------------------------------------

    def test_a_tree_watch_tells_all_that_is_below(self, lab: Lab) -> None:
        """The whole list each time: at first, and when a child comes, changes, or goes."""
        top, heard, other = lab.key(), Heard(), lab.open()
        lab.at_end(lab.store.watch(f"{top}/ab", heard, tree=True).close)
        assert heard.last_is([]), f"a tree with nothing below: {heard}"

        one = other.put(f"{top}/ab/1", b"1")
        assert heard.last_is([one]), f"after the first child: {heard}"
        deep = other.put(f"{top}/ab/2/x/y", b"")
        assert heard.last_is([one, deep]), f"after a deep one: {heard}"
        one = other.put(f"{top}/ab/1", b"changed")
        assert heard.last_is([one, deep]), f"after a change of a child's value: {heard}"
        deep = other.put(f"{top}/ab/2/x/y", b"changed")
        assert heard.last_is([one, deep]), f"after a change of a deep one's value: {heard}"
        other.delete(f"{top}/ab/1")
        assert heard.last_is([deep]), f"after a child was deleted: {heard}"
        other.delete_tree(f"{top}/ab")
        assert heard.last_is([]), f"after the tree was deleted: {heard}"
        again = other.put(f"{top}/ab/1", b"again")
        assert heard.last_is([again]), f"after a child was made anew: {heard}"

    def test_a_tree_watch_begins_with_what_is_there(self, lab: Lab) -> None:
        """The first thing that it tells is the list as it is; nothing above or beside is in it."""
        top, heard, other = lab.key(), Heard(), lab.open()
        entries = [other.put(f"{top}/ab/{name}", b"") for name in ("c", "c/d", "e")]
        for key in (f"{top}/ab", f"{top}/abc/d", f"{top}/b"):
            other.put(key, b"")
        lab.at_end(lab.store.watch(f"{top}/ab", heard, tree=True).close)
        assert heard.last_is(entries), f"what is below: {heard}"
        is_equal(heard.states[0], entries, "the first list told")
        other.put(f"{top}/abc/d", b"changed")
        other.put(f"{top}/ab", b"changed")
        entries[0] = other.put(f"{top}/ab/c", b"changed")
        assert heard.last_is(entries), f"after changes above, beside and below: {heard}"

    # -- callbacks and the end -----------------------------------------------------------------

    def test_two_watches_of_one_key_both_hear(self, lab: Lab) -> None:
        """Closing one of them, even twice, leaves the other alone."""
        key, first, second = lab.key("a"), Heard(), Heard()
        watch = lab.store.watch(key, first)
        lab.at_end(lab.store.watch(key, second).close)
        entry = lab.store.put(key, b"1")
        assert first.last_is(entry), f"the first watch: {first}"
        assert second.last_is(entry), f"the second watch: {second}"
        watch.close()
        watch.close()
        entry = lab.store.put(key, b"2")
        assert second.last_is(entry), f"the second one after the first was closed: {second}"

    def test_nothing_is_told_after_close(self, lab: Lab) -> None:
        """A watch that is closed is silent, at once, whether of a key or of a tree."""
        key, ears, other = lab.key("a/b"), [Heard(), Heard()], lab.open()
        watches = [
            lab.store.watch(key, ears[0]),
            lab.store.watch(key.rpartition("/")[0], ears[1], tree=True),
        ]
        entry = other.put(key, b"1")
        assert ears[0].last_is(entry), f"the watch of the key: {ears[0]}"
        assert ears[1].last_is([entry]), f"the watch of the tree: {ears[1]}"
        for watch in watches:
            watch.close()
        told = [len(heard.states) for heard in ears]
        other.put(key, b"2")
        time.sleep(_MOMENT)
        is_equal([len(heard.states) for heard in ears], told, "states told, before and after")

    def test_a_callback_that_raises_is_called_again(self, lab: Lab) -> None:
        """What it raises hurts neither the watch, nor the writer, nor other watches."""
        key, heard, calm = lab.key("a"), Heard(), Heard()

        def fail(change: Any) -> None:
            heard(change)
            raise RuntimeError("a mistake in a callback, made by a case of the contract")

        with _unlogged():
            lab.at_end(lab.store.watch(key, fail).close)
            lab.at_end(lab.store.watch(key, calm).close)
            for value in (b"1", b"2", None, b"3"):
                state = _write(lab.store, key, value)
                assert heard.last_is(state), f"the callback that raises, at {state}: {heard}"
                assert calm.last_is(state), f"the other callback, at {state}: {calm}"

    def test_a_callback_may_use_the_store(self, lab: Lab) -> None:
        """It is called with no lock held: it reads and writes, on the connection that calls it."""
        key, heard = lab.key("n"), Heard()

        def raise_it(change: Any) -> None:
            heard(change)
            if isinstance(change, Entry) and int(change.value) < 4:
                lab.store.put(key, b"%d" % (int(change.value) + 1), expect=change)

        lab.at_end(lab.store.watch(key, raise_it).close)
        lab.store.put(key, b"1")
        assert heard.last(lambda last: last is not None and last.value == b"4"), f"{heard}"

    def test_a_callback_may_close_its_watch(self, lab: Lab) -> None:
        """It does not wait for itself, and hears nothing more."""
        key, heard, closed = lab.key("a"), Heard(), threading.Event()

        def once(change: Any) -> None:
            heard(change)
            if change is not None:
                watch.close()
                closed.set()

        watch = lab.store.watch(key, once)
        lab.at_end(watch.close)
        assert heard.last_is(None), f"the missing key: {heard}"
        entry = lab.store.put(key, b"1")
        assert closed.wait(5), "close() from inside the callback did not return"
        told = len(heard.states)
        lab.store.put(key, b"2")
        time.sleep(_MOMENT)
        is_equal((len(heard.states), heard.states[-1]), (told, entry), "states told")

    def test_no_thread_is_left_by_a_closed_watch(self, lab: Lab) -> None:
        """A connection that watched, and is closed, leaves no thread running."""
        key, heard = lab.key("a"), Heard()
        lab.store.put(key, b"1")
        before = set(threading.enumerate())
        store = lab.open()
        watches = [store.watch(key, heard), store.watch(key, heard, tree=True)]
        assert heard.last(lambda _: len(heard.states) > 1), f"the first states: {heard}"
        for watch in watches:
            watch.close()
        store.close()

        def left() -> set[threading.Thread]:
            return {thread for thread in threading.enumerate() if thread not in before}

        assert lab.eventually(lambda: not left()), f"threads are left running: {left()}"


def _write(store: Any, key: str, value: bytes | None) -> Entry | None:
    if value is None:
        store.delete(key)
        return None
    entry: Entry = store.put(key, value)
    return entry


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep tracebacks that are caused on purpose from those who run the contract."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
