"""Several processes on one database: contention, stops, deaths, forks, reboots."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from leadership_core.backend.clock import now
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.entries import ABSENT
from leadership_core.backend.url import StoreURL
from leadership_core.errors import SessionLost, StoreUnavailable
from leadership_core.stores.sqlite import SqliteStore, leadership_open_store
from leadership_core.stores.sqlite.transactions import renew
from leadership_core.stores.sqlite.write_queue import WriteQueue
from leadership_core.testing import VirtualClock
from tests.integration.sqlite.processes import Start, line_of, say
from tests.support.waiting import Seen, at_most
from tests.unit.stores_harness import FakeClock, sqlite_store

pytestmark = pytest.mark.slow


_INCREMENT = """
for _ in range(150):
    while True:
        entry = store.get("n")
        try:
            store.put("n", b"%d" % (int(entry.value) + 1), expect=entry)
            break
        except Conflict:
            pass
"""


def test_concurrent_increments_of_processes_lose_nothing(store: SqliteStore, start: Start) -> None:
    """Three processes increment one counter, and all increments count."""
    store.put("n", b"0")
    for process in [start(_INCREMENT) for _ in range(3)]:
        assert process.wait(20) == 0

    found = store.get("n")
    assert found is not None
    assert found.value == b"450"


def test_processes_that_create_the_database_at_once_share_it(path: Path, start: Start) -> None:
    """Whichever is first, all use one database."""
    create = "sys.stdin.readline(); store.put(f'a/{os.getpid()}', b'')"
    processes = [start(create) for _ in range(5)]
    time.sleep(0.3)  # they are importing; the line then finds them all waiting
    for process in processes:
        say(process, "go")
    assert [process.wait(10) for process in processes] == [0] * 5

    store = leadership_open_store(StoreURL.parse(f"sqlite:///{path}"))
    assert store is not None
    found = store.list("a")
    store.close()
    assert {entry.key for entry in found} == {f"a/{process.pid}" for process in processes}
    assert sorted(entry.revision for entry in found) == [1, 2, 3, 4, 5]


def test_watch_reports_changes_of_another_process_within_milliseconds(
    store: SqliteStore, start: Start
) -> None:
    """It reports a change, the end of a session, and an expiry."""
    seen = Seen()
    watch = store.watch("a", seen)
    seen.wait_for(None)
    process = start(
        """
for ttl in (60, 0.2):
    sys.stdin.readline()
    session = store.open_session(ttl)
    store.put("a", b"", session=session)
    print(time.time(), flush=True)
    if ttl == 60:
        sys.stdin.readline()
        session.close()
        print(time.time(), flush=True)
"""
    )
    delays = []
    for is_there in (True, False, True):
        say(process, "go on")
        seen.wait(lambda change, is_there=is_there: (change is not None) == is_there)  # type: ignore[misc]  # mypy infers no lambda with defaults
        delays.append(time.time() - float(line_of(process)))
    began = time.time()
    seen.wait_for(None)
    assert 0.1 < time.time() - began < at_most(0.3)
    watch.close()
    # 10 ms by design; the rest is for a machine that is busy.
    assert max(delays) < at_most(0.1)


_STOP_INSIDE = """
with store.executor.write() as (_, transaction):
    transaction.put("held", b"", None)
    print("inside", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
print("through", flush=True)
sys.stdin.readline()
"""


def test_process_stopped_inside_a_write_blocks_writers(store: SqliteStore, start: Start) -> None:
    """Others can read, get an error in time when they write, and go on when it goes on."""
    before = store.put("a", b"")
    session = store.open_session(60)
    process = start(_STOP_INSIDE)
    assert line_of(process) == "inside"
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)

    calls: list[Callable[[], object]] = [
        lambda: store.put("b", b"", expect=ABSENT),
        lambda: store.delete("a"),
        session.renew,
        lambda: store.open_session(1),
    ]
    for call in calls:
        began = time.monotonic()
        with (
            call_timeout(0.1),
            pytest.raises(StoreUnavailable, match="another process holds the lock"),
        ):
            call()
        assert 0.09 < time.monotonic() - began < at_most(0.3)
    assert store.get("a") == before
    assert store.get("held") is None

    process.send_signal(signal.SIGCONT)
    assert line_of(process) == "through"
    assert session.renew() == 60
    assert store.get("b") is None
    assert store.get("held") is not None


def test_waiting_write_goes_on_once_the_lock_is_free(store: SqliteStore, start: Start) -> None:
    """A call within its timeout succeeds as soon as the stopped process goes on."""
    process = start(_STOP_INSIDE)
    assert line_of(process) == "inside"
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    done: list[float] = []

    def write() -> None:
        store.put("a", b"")
        done.append(time.monotonic())

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.1)
    assert writer.is_alive()

    resumed = time.monotonic()
    process.send_signal(signal.SIGCONT)
    writer.join(3)
    assert done[0] - resumed < at_most(0.1)


def test_process_killed_inside_a_write_leaves_no_lock(store: SqliteStore, start: Start) -> None:
    """Its write has no effect, and its lock is free at once."""
    process = start(_STOP_INSIDE)
    assert line_of(process) == "inside"
    process.kill()
    process.wait(3)

    with call_timeout(0.5):
        store.put("a", b"")
    assert store.get("held") is None


def test_renewal_overtakes_other_writes_of_its_process(store: SqliteStore) -> None:
    """Twenty threads that write without a pause delay a renewal by one write or two."""
    session = store.open_session(60)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.put("a", b"")

    writers = [threading.Thread(target=write) for _ in range(20)]
    for writer in writers:
        writer.start()
    took = []
    for _ in range(40):
        began = time.monotonic()
        session.renew()
        took.append(time.monotonic() - began)
        time.sleep(0.002)
    stop.set()
    for writer in writers:
        writer.join(5)

    # Waiting for its turn like the others, it would need twenty writes.
    assert sorted(took)[len(took) // 2] < 0.02


def test_urgent_write_overtakes_an_ordinary_one() -> None:
    """An ordinary write that has waited longer starts after the urgent one."""
    queue, order = WriteQueue[None](), []

    def take(name: str, urgent: bool) -> None:
        with queue.turn(urgent=urgent, deadline=now() + 3):
            order.append(name)

    with queue.turn(urgent=True, deadline=now() + 3):
        first = threading.Thread(target=take, args=("first", False))
        first.start()
        first.join(0.03)
        second = threading.Thread(target=take, args=("second", False))
        second.start()
        second.join(0.03)
        take("urgent", urgent=True)
        with pytest.raises(StoreUnavailable), queue.turn(urgent=False, deadline=now() + 0.02):
            pass
        assert order == ["urgent"]
    first.join(3)
    second.join(3)
    assert order == ["urgent", "first", "second"]


def test_write_queue_is_fair(store: SqliteStore) -> None:
    """Threads that write without a pause take turns, and none starves."""
    until = time.monotonic() + 0.4
    counts = [0] * 8

    def write(number: int) -> None:
        while time.monotonic() < until:
            store.put("a", b"")
            counts[number] += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(5)

    assert min(counts) > max(counts) / 3


# -- time -------------------------------------------------------------------------------------


def test_reboot_ends_every_session(path: Path) -> None:
    """The boot clock restarts and does not apply to earlier sessions; unbound entries stay."""
    before = sqlite_store(path, FakeClock(), "first boot")
    session = before.open_session(60)
    claim = before.put("leader", b"one", session=session)
    kept = before.put("kept", b"")
    before.close()

    after = sqlite_store(path, VirtualClock(3.0), "second boot")
    assert after.get("leader") is None
    assert after.list("") == [kept]
    assert after.put("leader", b"two", expect=ABSENT).revision > claim.revision
    after.close()


def test_watch_after_a_reboot_reports_no_entries_of_earlier_sessions(path: Path) -> None:
    """It reports the remaining entries only."""
    clock, seen = FakeClock(), Seen()
    before = sqlite_store(path, clock, "first boot")
    before.put("a", b"one", session=before.open_session(60))
    before.close()

    after = sqlite_store(path, clock, "second boot")
    watch = after.watch("a", seen)
    seen.wait_for(None)
    watch.close()
    after.close()
    assert seen == [None]


def test_renewal_that_gets_the_lock_too_late_loses_the_session(path: Path) -> None:
    """The clock is read under the lock: waiting for it does not stop time."""
    clock = FakeClock()
    store, other = sqlite_store(path, clock), sqlite_store(path, clock)
    session = store.open_session(10)
    errors: list[BaseException] = []

    def renew() -> None:
        try:
            session.renew()
        except SessionLost as error:
            errors.append(error)

    with other.executor.write():
        renewal = threading.Thread(target=renew)
        renewal.start()
        renewal.join(0.05)
        assert renewal.is_alive()
        clock.advance(10)
    renewal.join(3)

    assert len(errors) == 1
    store.close()
    other.close()


def test_read_of_an_expired_entry_waits_for_a_renewal_under_way(path: Path) -> None:
    """The renewal has read the clock in time, so the entry may still be valid."""
    clock, seen = FakeClock(), Seen()
    store, other = sqlite_store(path, clock), sqlite_store(path, clock)
    session = store.open_session(10)
    entry = store.put("a", b"", session=session)
    watch = other.watch("a", seen)
    seen.wait_for(entry)

    clock.advance(9.9)
    with store.executor.write(urgent=True) as (_, transaction):
        assert renew(transaction.connection, session.id, transaction.now, transaction.boot)
        clock.advance(0.2)
        with call_timeout(0.05), pytest.raises(StoreUnavailable):
            other.get("a")
        with call_timeout(0.05), pytest.raises(StoreUnavailable):
            other.list("")

    assert other.get("a") == entry
    watch.close()
    assert None not in seen
    store.close()
    other.close()
