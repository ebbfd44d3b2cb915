"""The watch of an etcd claim: which reports prove that it is the first, and which wake the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from leadership_core.backend import StoreUnavailable
from leadership_etcd.claim_watch import ClaimWatch
from leadership_etcd.rpc import KeyValue, WatchEvent

OWN, NEAREST, SECOND, FOREIGN = b"key/9", b"key/8", b"key/7", b"key/note"
_TOKEN = 90
_READ_AT = 100


class _Watch:
    def __init__(self, key: bytes, after: int) -> None:
        self.key, self.after, self.closed = key, after, False
        self.id: int | None = 1

    def close(self) -> None:
        self.closed = True


class _Watcher:
    """Watches that report what the test says."""

    def __init__(self) -> None:
        self.ended_streams = 0
        self.watches: list[_Watch] = []
        # An event may come before `open` has returned.
        self.on_open: Callable[[bytes], None] = lambda _: None

    def open(self, key: bytes, end: bytes, after: int, listener: object) -> _Watch:
        self.watches.append(_Watch(key, after))
        self.on_open(key)
        return self.watches[-1]

    def add_delivery(self, delivery: object) -> None:
        pass

    def watched(self) -> set[bytes]:
        return {watch.key for watch in self.watches if not watch.closed}


class _Harness:
    """A waiting claim whose queue was read at revision 100."""

    def __init__(self) -> None:
        self.watcher = _Watcher()
        self.woken, self.looked_ahead = 0, 0
        watcher: Any = self.watcher
        self.watch = ClaimWatch(watcher, OWN, _TOKEN, self._wake, self._look_ahead)

    def _wake(self) -> None:
        self.woken += 1

    def _look_ahead(self) -> None:
        self.looked_ahead += 1

    def read(self, *before: bytes, revision: int = _READ_AT, foreign: bool = False) -> None:
        """Take in a read of the queue: the claims before this one, the nearest first."""
        keys = frozenset(before) | ({FOREIGN} if foreign else frozenset())
        self.watch.note_queue(keys, revision, self.watch.moment())
        self.watch.watch_predecessors(before[:2], revision)

    def delete(self, *keys: bytes, revision: int = 110) -> None:
        """Report that keys were deleted, in one message."""
        kvs = [KeyValue(key, b"", 0, revision, 0) for key in keys]
        self.watch.on_events([WatchEvent(kv, deleted=True) for kv in kvs])

    def write(self, key: bytes, revision: int = 110) -> None:
        """Report that a key was written."""
        self.watch.on_events([WatchEvent(KeyValue(key, b"", 1, revision, 8), deleted=False)])

    @property
    def is_first(self) -> bool:
        return self.watch.is_reported_first


@pytest.fixture
def harness() -> Iterator[_Harness]:
    """A waiting claim."""
    made = _Harness()
    yield made
    made.watch.close()


def test_deletion_of_only_predecessor_proves_that_claim_is_first(harness: _Harness) -> None:
    """It wakes the engine when that is known."""
    harness.read(NEAREST)
    assert not harness.is_first

    harness.delete(NEAREST)

    assert harness.is_first
    assert harness.woken == 1


def test_status_is_unknown_without_read_of_the_queue(harness: _Harness) -> None:
    """A deletion alone tells nothing about other claims."""
    harness.watch.watch_predecessors([NEAREST], _READ_AT)
    harness.delete(NEAREST)

    assert not harness.is_first
    assert harness.woken == 1


def test_deletion_of_one_of_several_predecessors_proves_nothing(harness: _Harness) -> None:
    """The leader, or a key that is no claim, is still before the claim."""
    harness.read(NEAREST, SECOND)
    harness.delete(NEAREST)
    assert not harness.is_first

    harness.read(NEAREST, foreign=True)
    harness.delete(NEAREST)
    assert not harness.is_first


def test_deletions_of_both_predecessors_prove_that_claim_is_first(harness: _Harness) -> None:
    """The end of the one before the nearest wakes nothing."""
    harness.read(NEAREST, SECOND)
    harness.delete(SECOND)
    assert (harness.woken, harness.looked_ahead) == (0, 0)

    harness.delete(NEAREST, revision=120)

    assert harness.is_first
    assert harness.woken == 1


def test_end_of_second_predecessor_looks_ahead_where_others_may_remain(harness: _Harness) -> None:
    """The engine is not woken for it."""
    harness.read(NEAREST, SECOND, b"key/6")
    harness.delete(SECOND)
    assert (harness.woken, harness.looked_ahead) == (0, 1)

    harness.read(NEAREST, revision=115)
    harness.delete(NEAREST, revision=120)

    assert harness.is_first


@pytest.mark.parametrize("how", ["delete", "write"])
def test_claim_that_has_changed_is_never_first(harness: _Harness, how: str) -> None:
    """No later read or event makes it intact again."""
    harness.read(NEAREST)
    getattr(harness, how)(OWN)
    harness.delete(NEAREST, revision=120)
    assert not harness.is_first

    harness.read(revision=130)

    assert not harness.is_first
    assert harness.woken == 2


def test_deletion_of_claim_and_predecessor_in_one_message_elects_nobody(harness: _Harness) -> None:
    """Whatever their order."""
    harness.read(NEAREST)
    harness.delete(NEAREST, OWN)

    assert not harness.is_first
    assert harness.watch.deleted


def test_write_of_predecessor_proves_nothing(harness: _Harness) -> None:
    """It exists, perhaps without being a claim, so the status is read."""
    harness.read(NEAREST)
    harness.write(NEAREST)

    assert not harness.is_first
    assert harness.woken == 1


def test_event_older_than_the_read_proves_nothing(harness: _Harness) -> None:
    """The read has shown a key that was created after that deletion."""
    harness.read(NEAREST)
    harness.delete(NEAREST, revision=_READ_AT)

    assert not harness.is_first


def test_predecessor_that_enters_again_is_behind_the_claim(harness: _Harness) -> None:
    """Its new key has a larger create revision, and its events are of no importance any more."""
    harness.read(NEAREST)
    harness.delete(NEAREST)
    harness.write(NEAREST, revision=120)
    harness.delete(NEAREST, revision=130)

    assert harness.is_first
    assert harness.woken == 1


def test_gap_makes_the_queue_unknown(harness: _Harness) -> None:
    """The deletion of the claim itself may be what was not reported."""
    harness.read(NEAREST)
    harness.watch.on_gap()
    harness.delete(NEAREST)

    assert not harness.is_first
    assert harness.woken == 2


@pytest.mark.parametrize("what", ["gap", "stream"])
def test_read_from_before_a_gap_or_a_new_stream_does_not_count(
    harness: _Harness, what: str
) -> None:
    """Its answer may come after the gap, in which the claim was deleted."""
    before = harness.watch.moment()
    if what == "gap":
        harness.watch.on_gap()
    else:
        harness.watcher.ended_streams += 1
    harness.watch.note_queue(frozenset({NEAREST}), _READ_AT, before)
    harness.delete(NEAREST)

    assert not harness.is_first


def test_new_stream_makes_the_queue_unknown(harness: _Harness) -> None:
    """Its member may lag behind, and may report the deletion of the claim after the other one."""
    harness.read(NEAREST)
    harness.watcher.ended_streams += 1
    harness.delete(NEAREST)

    assert not harness.is_first
    assert harness.woken == 1


def test_claim_whose_watch_is_being_created_again_is_not_first(harness: _Harness) -> None:
    """Events of its own key would come later."""
    harness.read(NEAREST)
    harness.watcher.watches[0].id = None
    harness.delete(NEAREST)

    assert not harness.is_first


def test_unavailable_stream_changes_nothing(harness: _Harness) -> None:
    """The renewals notice it, and events follow."""
    harness.read(NEAREST)
    harness.watch.on_unavailable(StoreUnavailable("outage"))
    harness.watch.on_recovered()

    assert harness.woken == 0


def test_closed_watch_proves_nothing(harness: _Harness) -> None:
    """From then on the end of the claim is not reported."""
    harness.read(NEAREST)
    harness.delete(NEAREST)
    harness.watch.close()

    assert not harness.is_first
    assert harness.watcher.watched() == set()


def test_second_predecessor_that_becomes_nearest_after_its_end_wakes(harness: _Harness) -> None:
    """Its event came while the read was under way that has made it the nearest."""
    harness.read(NEAREST, SECOND)
    harness.delete(NEAREST)
    assert harness.woken == 1
    harness.delete(SECOND, revision=130)  # which the read at 120 has not shown
    assert harness.woken == 1

    harness.read(SECOND, revision=120)

    assert harness.woken == 2


def test_event_that_comes_while_its_watch_is_opened_wakes(harness: _Harness) -> None:
    """A thread of gRPC may have it before `open` returns."""
    harness.read(NEAREST, SECOND)
    harness.delete(NEAREST)
    harness.watcher.on_open = lambda _: harness.delete(SECOND, revision=130)

    harness.read(SECOND, b"key/6", revision=120)

    assert harness.woken == 2
    assert harness.watcher.watched() == {OWN, SECOND, b"key/6"}
