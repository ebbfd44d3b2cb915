"""The end of a watch: what `close` promises of the callback, for all four kinds of watch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ...store import Capability, Closable
from .. import heard
from ..case import needs
from ..contender import Contender
from ..lab import Lab
from .expectations import is_equal

__all__ = ["ClosingCases"]

_MOMENT = 0.15  # seconds for something that must not happen
_ROUNDS = 25  # watches that are closed at any moment


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of watch, and what changes the watched state.

    Attributes:
        name: of the method that begins the watch.
        begin: begins it with a callback that takes anything.
        changes: three changes of what is watched, to be made in this order.
    """

    name: str
    begin: Callable[[Callable[..., None]], Closable]
    changes: tuple[Callable[[], object], ...]


class ClosingCases:
    """No call begins after `close` has returned, and `close` inside a call does not wait."""

    def test_no_call_begins_once_close_has_returned(self, lab: Lab) -> None:
        """A call under way is waited for, also by a second `close` meanwhile, and is the last."""
        for kind in _entry_kinds(lab):
            _check_close_waits(lab, kind)

    @needs(Capability.SESSIONS)
    def test_no_call_begins_once_close_of_an_election_watch_has_returned(self, lab: Lab) -> None:
        """The same for `watch_leader` and `on_turn`."""
        for kind in _election_kinds(lab):
            _check_close_waits(lab, kind)

    def test_close_inside_the_callback_returns_at_once(self, lab: Lab) -> None:
        """It waits neither for its own call nor for a lock, and that call is the last one."""
        for kind in _entry_kinds(lab):
            _check_close_inside(lab, kind)

    @needs(Capability.SESSIONS)
    def test_close_inside_the_callback_of_an_election_watch_returns_at_once(self, lab: Lab) -> None:
        """The same for `watch_leader` and `on_turn`."""
        for kind in _election_kinds(lab):
            _check_close_inside(lab, kind)

    def test_close_at_any_moment_is_the_end(self, lab: Lab) -> None:
        """In a storm of writes no call begins after `close`, whatever the watch was about to do."""
        key, other, over = lab.key("a"), lab.open(), threading.Event()

        def write() -> None:
            number = 0
            while not over.is_set():
                other.put(key, b"%d" % number)
                number += 1

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        late: list[str] = []
        try:
            for round_ in range(_ROUNDS):
                closed = threading.Event()

                def hear(change: Any, closed: threading.Event = closed) -> None:
                    if closed.is_set():
                        late.append(repr(change))

                watch = lab.store.watch(key, hear)
                time.sleep(0.001 * (round_ % 7))
                watch.close()
                closed.set()
            time.sleep(_MOMENT)
        finally:
            over.set()
            writer.join(heard.PATIENCE)
        assert not late, f"{len(late)} calls began after close() had returned, such as {late[0]}"


def _entry_kinds(lab: Lab) -> Iterator[_Kind]:
    other = lab.open()
    for name in ("watch", "watch_tree"):
        key = lab.key("a/b")
        watched = key if name == "watch" else key.rpartition("/")[0]
        method = getattr(lab.store, name)
        yield _Kind(
            name,
            lambda callback, method=method, watched=watched: method(watched, callback),  # type: ignore[misc]  # mypy cannot type a lambda's defaults
            tuple(lambda n=n, key=key: other.put(key, b"%d" % n) for n in range(3)),  # type: ignore[misc]
        )


def _election_kinds(lab: Lab) -> Iterator[_Kind]:
    key, other = lab.key("leader"), lab.open()
    first, second = Contender(lab, key, store=other), Contender(lab, key, store=other)
    assert first.leads(), "the only contender leads"
    yield _Kind(
        "watch_leader",
        lambda callback: lab.store.election(key).watch_leader(callback),
        (first.withdraw, second.enter, second.withdraw),
    )
    key = lab.key("leader")
    ahead, waiting = Contender(lab, key), Contender(lab, key)
    assert ahead.leads(), "the only contender leads"
    assert waiting.waits(), "the second contender waits"

    def begin(callback: Callable[..., None]) -> Closable:
        watch = waiting.election.on_turn(waiting.claim, callback)
        waiting.waits()  # some stores learn from this read which claim is next before it
        return watch

    yield _Kind(
        "on_turn",
        begin,
        (ahead.withdraw, waiting.withdraw, lambda: None),
    )


def _check_close_waits(lab: Lab, kind: _Kind) -> None:
    calls: list[str] = []
    armed, inside, proceed = threading.Event(), threading.Event(), threading.Event()

    def slow(*_: Any) -> None:
        if not armed.is_set():
            return
        calls.append("begins")
        inside.set()
        proceed.wait(heard.PATIENCE)
        calls.append("ends")

    watch = _begin(lab, kind, slow)
    armed.set()
    # In threads: a store may call back in the one that makes the change, and a callback that
    # does not return may hold up the connection that it was called from.
    writers = [_started(kind.changes[0])]
    closers: list[threading.Thread] = []
    try:
        assert inside.wait(heard.PATIENCE), f"{kind.name}: the change was not told"
        writers.append(_started(kind.changes[1]))
        closers = [_started(watch.close) for _ in range(2)]
        time.sleep(_MOMENT)
        waits = [closer.is_alive() for closer in closers]
        is_equal(waits, [True, True], f"{kind.name}: whether close() waits for a call under way")
    finally:
        proceed.set()
        for thread in (*closers, *writers):
            thread.join(heard.PATIENCE)
    stuck = [thread for thread in (*closers, *writers) if thread.is_alive()]
    assert not stuck, f"{kind.name}: close() did not return after the call: {stuck}"
    kind.changes[2]()
    time.sleep(_MOMENT)
    is_equal(calls, ["begins", "ends"], f"{kind.name}: calls, of which one was under way at close")


def _check_close_inside(lab: Lab, kind: _Kind) -> None:
    armed, closed = threading.Event(), threading.Event()
    took: list[float] = []

    def once(*_: Any) -> None:
        if not armed.is_set():
            return
        begun = time.monotonic()
        watch.close()
        took.append(time.monotonic() - begun)
        closed.set()

    watch = _begin(lab, kind, once)
    armed.set()
    writer = _started(kind.changes[0])
    assert closed.wait(2 * heard.PATIENCE), f"{kind.name}: close() inside the callback hangs"
    writer.join(heard.PATIENCE)
    assert took[0] < heard.PATIENCE / 2, f"{kind.name}: close() took {took[0]:.2f} s inside"
    for change in kind.changes[1:]:
        change()
    time.sleep(_MOMENT)
    is_equal(len(took), 1, f"{kind.name}: calls, of which the first has closed the watch")


def _begin(lab: Lab, kind: _Kind, callback: Callable[..., None]) -> Closable:
    """Begin the watch, and let it tell the state of now, as far as it does."""
    told = threading.Event()

    def hear(*report: Any) -> None:
        told.set()
        callback(*report)

    watch = kind.begin(hear)
    lab.at_end(watch.close)
    if kind.name == "on_turn":
        time.sleep(_MOMENT)  # it may call back at first, and need not
    else:
        assert told.wait(heard.PATIENCE), f"{kind.name}: the state of now was not told"
    return watch


def _started(what: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    return thread
