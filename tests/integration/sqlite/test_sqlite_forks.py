"""Forks while a store is open: what the child may do, and what the parent keeps."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from leadership_core.stores.sqlite import SqliteStore
from leadership_core.stores.sqlite.fork import fork_lock
from tests.integration.sqlite.processes import Start, line_of, say

pytestmark = pytest.mark.slow


_FORK = """
import gc, sqlite3
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.clock import now

session = store.open_session(30)
store.put("mine", b"parent", session=session)
watch = store.watch("mine", lambda change: None)
stop = threading.Event()

def write():
    while not stop.is_set():
        store.put("busy", b"")

writer = threading.Thread(target=write)
writer.start()

def refuses(error, call):
    try:
        call()
    except error:
        return True
    return False

def child():
    assert refuses(ForkedStore, lambda: store.get("mine"))
    assert refuses(ForkedStore, lambda: store.put("mine", b"child"))
    assert refuses(ForkedStore, lambda: store.watch("mine", print))
    assert refuses(ForkedStore, session.renew)
    assert refuses(ForkedStore, session.close)
    store.close()
    assert refuses(ConfigurationError, lambda: leadership_open_store(url))
    other = leadership_open_store(StoreURL.parse("sqlite:///" + sys.argv[1] + ".other"))
    other.put("a", b"")
    other.close()
    global everything_is_collected
    everything_is_collected = None
    gc.collect()

for _ in range(5):
    pid = os.fork()
    if pid == 0:
        child()
        sys.exit(0)  # with all that an interpreter does at its end
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    session.renew()
stop.set()
writer.join()
session.renew()
print("renewed", flush=True)
sys.stdin.readline()
session.renew()
watch.close()
store.close()
"""


def test_fork_waits_until_no_thread_is_inside_sqlite() -> None:
    """The child would inherit a mutex without the thread that releases it."""
    inside, leave = threading.Event(), threading.Event()
    order = []

    def use_sqlite() -> None:
        with fork_lock:
            inside.set()
            leave.wait(3)
            order.append("left")

    user = threading.Thread(target=use_sqlite)
    user.start()
    assert inside.wait(3)
    threading.Timer(0.05, leave.set).start()
    fork_lock.before_fork()
    try:
        order.append("fork")
        late = threading.Thread(target=use_sqlite)
        late.start()
        late.join(0.03)
        meanwhile = list(order)
    finally:
        fork_lock.after_in_parent()
    user.join(3)
    late.join(3)
    assert meanwhile == ["left", "fork"]
    assert order == ["left", "fork", "left"]


def test_forked_child_has_no_effect_on_the_database(
    path: Path, store: SqliteStore, start: Start
) -> None:
    """Its calls fail, its end has no effect on others, and the parent still holds SQLite's locks."""
    process = start(_FORK)
    assert line_of(process) == "renewed"

    found = store.get("mine")
    assert found is not None
    assert found.value == b"parent"
    # Another process that opens and closes it must not think that it was the last one.
    assert start("store.put('third', b'')").wait(10) == 0
    say(process, "end")
    assert process.wait(10) == 0
    assert store.get("third") is not None
