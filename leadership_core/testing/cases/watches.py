"""Cases of watches of a key, and of a tree."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any

from ...backend.entries import Entry
from ..recorders import WatchRecorder
from ..sandbox import Sandbox
from .assertions import is_equal

__all__ = ["WatchCases"]

_MOMENT = 0.15  # seconds for something that must not happen


class WatchCases:
    """Reports of the present state, and of every lasting one."""

    def test_watch_begins_with_the_present_state(self, sandbox: Sandbox) -> None:
        """The first report is the present entry, not the next change."""
        key, recorder = sandbox.key("a"), WatchRecorder()
        entry = sandbox.open().put(key, b"1")
        sandbox.at_end(sandbox.store.watch(key, recorder).close)
        assert recorder.last_is(entry), f"{entry}: {recorder}"
        is_equal(recorder.states[0], entry, "the first report")

    def test_watch_of_a_missing_key_reports_every_lasting_state(self, sandbox: Sandbox) -> None:
        """It reports None first, and then that another connection creates, changes and deletes the key."""
        key, recorder, other = sandbox.key("not/yet/there"), WatchRecorder(), sandbox.open()
        sandbox.at_end(sandbox.store.watch(key, recorder).close)
        assert recorder.last_is(None), f"the missing key: {recorder}"
        for value in (b"1", b"2", None, b"3", None, b""):
            state = _write(other, key, value)
            assert recorder.last_is(state), f"{state} was not reported: {recorder}"

    def test_watch_reports_the_last_of_many_writes(self, sandbox: Sandbox) -> None:
        """Intermediate states may be missed, the last one never; reports do not go back in time."""
        key, recorder, stores = sandbox.key("a"), WatchRecorder(), [sandbox.store, sandbox.open()]
        sandbox.at_end(sandbox.store.watch(key, recorder).close)
        for round_ in range(3):
            for number in range(12):
                _write(stores[number % 2], key, b"%d/%d" % (round_, number) if number % 5 else None)
            last = stores[1].get(key)
            assert recorder.last_is(last), f"round {round_} ended with {last}: {recorder}"
        values = [state.value for state in recorder.states if state is not None]
        reported = [tuple(map(int, value.split(b"/"))) for value in values]
        is_equal(reported, sorted(reported), "the order of the reports")

    def test_watch_misses_no_write_at_its_start(self, sandbox: Sandbox) -> None:
        """A write between the first read and the start of the watch is reported."""
        other = sandbox.open()
        for _ in range(8):
            key, recorder = sandbox.key("a"), WatchRecorder()
            other.put(key, b"before")
            writer = threading.Thread(target=other.put, args=[key, b"after"])
            writer.start()
            watch = sandbox.store.watch(key, recorder)
            writer.join()
            reported = recorder.last(lambda last: last is not None and last.value == b"after")
            watch.close()
            assert reported, f"a write at the moment of watching was missed: {recorder}"

    def test_watch_reports_its_own_key_only(self, sandbox: Sandbox) -> None:
        """Changes of keys with the same beginning, and of keys below, are not reported."""
        top, recorder, other = sandbox.key(), WatchRecorder(), sandbox.open()
        entry = sandbox.store.put(f"{top}/ab", b"1")
        sandbox.at_end(sandbox.store.watch(f"{top}/ab", recorder).close)
        assert recorder.last_is(entry), f"the first state: {recorder}"
        for key in (f"{top}/abc", f"{top}/ab/c", f"{top}/a", top):
            other.put(key, b"other")
        last = other.put(f"{top}/ab", b"2")
        assert recorder.last_is(last), f"its own change after those of others: {recorder}"
        is_equal({state.key for state in recorder.states}, {f"{top}/ab"}, "keys of the reports")

    # -- trees ---------------------------------------------------------------------------------

    def test_tree_watch_reports_all_keys_below(self, sandbox: Sandbox) -> None:
        """It reports the whole list at first, and whenever a child is created, changed or deleted."""
        top, recorder, other = sandbox.key(), WatchRecorder(), sandbox.open()
        sandbox.at_end(sandbox.store.watch(f"{top}/ab", recorder, tree=True).close)
        assert recorder.last_is([]), f"a tree with nothing below: {recorder}"

        one = other.put(f"{top}/ab/1", b"1")
        assert recorder.last_is([one]), f"after the first child: {recorder}"
        deep = other.put(f"{top}/ab/2/x/y", b"")
        assert recorder.last_is([one, deep]), f"after a deep one: {recorder}"
        one = other.put(f"{top}/ab/1", b"changed")
        assert recorder.last_is([one, deep]), f"after a change of a child's value: {recorder}"
        deep = other.put(f"{top}/ab/2/x/y", b"changed")
        assert recorder.last_is([one, deep]), f"after a change of a deep entry's value: {recorder}"
        other.delete(f"{top}/ab/1")
        assert recorder.last_is([deep]), f"after a child was deleted: {recorder}"
        other.delete_tree(f"{top}/ab")
        assert recorder.last_is([]), f"after the tree was deleted: {recorder}"
        again = other.put(f"{top}/ab/1", b"again")
        assert recorder.last_is([again]), f"after a child was created again: {recorder}"

    def test_tree_watch_begins_with_the_present_list(self, sandbox: Sandbox) -> None:
        """The first report is the present list, without keys above or beside it."""
        top, recorder, other = sandbox.key(), WatchRecorder(), sandbox.open()
        entries = [other.put(f"{top}/ab/{name}", b"") for name in ("c", "c/d", "e")]
        for key in (f"{top}/ab", f"{top}/abc/d", f"{top}/b"):
            other.put(key, b"")
        sandbox.at_end(sandbox.store.watch(f"{top}/ab", recorder, tree=True).close)
        assert recorder.last_is(entries), f"what is below: {recorder}"
        is_equal(recorder.states[0], entries, "the first report")
        other.put(f"{top}/abc/d", b"changed")
        other.put(f"{top}/ab", b"changed")
        entries[0] = other.put(f"{top}/ab/c", b"changed")
        assert recorder.last_is(entries), f"after changes above, beside and below: {recorder}"

    # -- callbacks and the end -----------------------------------------------------------------

    def test_watches_of_one_key_are_independent(self, sandbox: Sandbox) -> None:
        """Closing one of them, even twice, leaves the other alone."""
        key, first, second = sandbox.key("a"), WatchRecorder(), WatchRecorder()
        watch = sandbox.store.watch(key, first)
        sandbox.at_end(sandbox.store.watch(key, second).close)
        entry = sandbox.store.put(key, b"1")
        assert first.last_is(entry), f"the first watch: {first}"
        assert second.last_is(entry), f"the second watch: {second}"
        watch.close()
        watch.close()
        entry = sandbox.store.put(key, b"2")
        assert second.last_is(entry), f"the second one after the first was closed: {second}"

    def test_watch_is_silent_after_close(self, sandbox: Sandbox) -> None:
        """A watch of a key or of a tree reports nothing after it was closed."""
        key, recorders, other = (
            sandbox.key("a/b"),
            [WatchRecorder(), WatchRecorder()],
            sandbox.open(),
        )
        watches = [
            sandbox.store.watch(key, recorders[0]),
            sandbox.store.watch(key.rpartition("/")[0], recorders[1], tree=True),
        ]
        entry = other.put(key, b"1")
        assert recorders[0].last_is(entry), f"the watch of the key: {recorders[0]}"
        assert recorders[1].last_is([entry]), f"the watch of the tree: {recorders[1]}"
        for watch in watches:
            watch.close()
        reported = [len(recorder.states) for recorder in recorders]
        other.put(key, b"2")
        time.sleep(_MOMENT)
        is_equal(
            [len(recorder.states) for recorder in recorders],
            reported,
            "number of reports, before and after",
        )

    def test_watch_callback_that_raises_is_called_again(self, sandbox: Sandbox) -> None:
        """Its error affects neither the watch, nor the writer, nor other watches."""
        key, recorder, calm = sandbox.key("a"), WatchRecorder(), WatchRecorder()

        def fail(change: Any) -> None:
            recorder(change)
            raise RuntimeError("a mistake in a callback, made by a case of the contract")

        with contextlib.ExitStack() as stack:
            stack.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.CRITICAL)  # for the tracebacks, which are caused on purpose
            sandbox.at_end(sandbox.store.watch(key, fail).close)
            sandbox.at_end(sandbox.store.watch(key, calm).close)
            for value in (b"1", b"2", None, b"3"):
                state = _write(sandbox.store, key, value)
                assert recorder.last_is(state), f"the callback that raises, at {state}: {recorder}"
                assert calm.last_is(state), f"the other callback, at {state}: {calm}"

    def test_watch_callback_may_use_the_store(self, sandbox: Sandbox) -> None:
        """It is called with no lock held, so it may read and write on the same connection."""
        key, recorder = sandbox.key("n"), WatchRecorder()

        def raise_it(change: Any) -> None:
            recorder(change)
            if isinstance(change, Entry) and int(change.value) < 4:
                sandbox.store.put(key, b"%d" % (int(change.value) + 1), expect=change)

        sandbox.at_end(sandbox.store.watch(key, raise_it).close)
        sandbox.store.put(key, b"1")
        assert recorder.last(lambda last: last is not None and last.value == b"4"), f"{recorder}"

    def test_watch_callback_may_close_its_watch(self, sandbox: Sandbox) -> None:
        """Close does not wait for the callback that calls it, and no report follows."""
        key, recorder, closed = sandbox.key("a"), WatchRecorder(), threading.Event()

        def once(change: Any) -> None:
            recorder(change)
            if change is not None:
                watch.close()
                closed.set()

        watch = sandbox.store.watch(key, once)
        sandbox.at_end(watch.close)
        assert recorder.last_is(None), f"the missing key: {recorder}"
        entry = sandbox.store.put(key, b"1")
        assert closed.wait(5), "close() from inside the callback did not return"
        reported = len(recorder.states)
        sandbox.store.put(key, b"2")
        time.sleep(_MOMENT)
        is_equal((len(recorder.states), recorder.states[-1]), (reported, entry), "reports")

    def test_closed_watch_leaves_no_thread(self, sandbox: Sandbox) -> None:
        """A connection that had watches, and is closed, leaves no thread running."""
        key, recorder = sandbox.key("a"), WatchRecorder()
        sandbox.store.put(key, b"1")
        before = set(threading.enumerate())
        store = sandbox.open()
        watches = [store.watch(key, recorder), store.watch(key, recorder, tree=True)]
        assert recorder.last(lambda _: len(recorder.states) > 1), f"the first states: {recorder}"
        for watch in watches:
            watch.close()
        store.close()

        def left() -> set[threading.Thread]:
            return {thread for thread in threading.enumerate() if thread not in before}

        assert sandbox.eventually(lambda: not left()), f"threads are left running: {left()}"


def _write(store: Any, key: str, value: bytes | None) -> Entry | None:
    if value is None:
        store.delete(key)
        return None
    entry: Entry = store.put(key, value)
    return entry
