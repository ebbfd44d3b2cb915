"""What only memory:// has: names, and a thread that exists only while it is needed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from leadership_core.errors import ForkedStore, URLError
from leadership_core.memory import MemoryStore, leadership_open_store
from leadership_core.url import StoreURL
from tests.core.stores_harness import Seen
from tests.support.machine import at_most

ROOT = Path(__file__).parents[2]


def open_memory(url: str) -> MemoryStore:
    store = leadership_open_store(StoreURL.parse(url))
    assert store is not None
    return store


def timers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("leadership-memory-")]


def test_stores_of_one_name_share_what_they_hold() -> None:
    """Two that are opened by one name see the same, also after the first was closed."""
    name = uuid.uuid4().hex
    first = open_memory(f"memory://{name}")
    entry = first.put("a", b"1")
    first.close()

    assert open_memory(f"memory://{name}").get("a") == entry
    assert open_memory(f"memory://{name}-other").get("a") is None


def test_without_a_name_it_is_private() -> None:
    """Each memory:// is a store of its own."""
    open_memory("memory://").put("a", b"1")

    assert open_memory("memory://").get("a") is None


def test_the_path_is_the_prefix() -> None:
    """The core puts it before every key."""
    assert open_memory("memory://name/some/prefix/").prefix == "some/prefix"
    assert open_memory("memory://name").prefix == ""


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("memory://user@name", "no users"),
        ("memory://:secret@name", "no users"),
        ("memory://name:80", "no port"),
        ("memory://one,two", "one name"),
        ("memory+tls://name", "no TLS"),
        ("memory://name?ttl=3", "no option 'ttl'"),
        ("memory://name/a//b", "prefix"),
    ],
)
def test_a_url_with_more_than_a_name_is_refused(url: str, why: str) -> None:
    """What would be ignored is an error that says so."""
    with pytest.raises(URLError, match=why):
        open_memory(url)


def test_another_scheme_is_left_to_others() -> None:
    """The plugin answers for its own scheme only."""
    assert leadership_open_store(StoreURL.parse("consul://name")) is None


def test_an_expiry_is_told_in_time_without_being_asked() -> None:
    """Nobody touches the store, and still the watch is told, within 50 ms of the expiry."""
    store, seen = open_memory("memory://"), Seen()
    watch = store.watch("a", seen)
    session = store.open_session(0.1)
    store.put("a", b"", session=session)
    began = time.monotonic()
    session.renew()

    seen.wait_for(None)
    assert 0.1 <= time.monotonic() - began < at_most(0.15)
    watch.close()


def test_an_earlier_expiry_is_not_missed() -> None:
    """A short session that is opened after a long one is told when it ends, not later."""
    store, seen = open_memory("memory://"), Seen()
    watch = store.watch("a", seen)
    store.open_session(60)
    time.sleep(0.02)
    store.put("a", b"", session=store.open_session(0.05))

    seen.wait_for(None, timeout=0.5)
    watch.close()


def test_the_timer_runs_only_while_somebody_waits_for_an_expiry() -> None:
    """No thread without a watch, none without a session, one with both, and none afterwards."""
    store = open_memory("memory://")
    session = store.open_session(60)
    assert timers() == []
    watch, second = store.watch("a", Seen()), store.watch("b", Seen())
    timer = timers()
    assert len(timer) == 1

    watch.close()
    second.close()
    timer[0].join(1)
    assert timers() == []

    watch = store.watch("a", Seen())
    timer = timers()
    assert len(timer) == 1
    session.close()
    timer[0].join(1)
    assert timers() == []
    watch.close()


def test_closing_the_store_ends_its_timer() -> None:
    """A store with watches and sessions leaves no thread behind."""
    store = open_memory("memory://")
    store.open_session(60)
    store.watch("a", Seen())
    (timer,) = timers()

    store.close()
    timer.join(1)
    assert timers() == []


_FORK = """
import os, sys
from leadership_core.errors import ForkedStore
from leadership_core.memory import leadership_open_store
from leadership_core.url import StoreURL

url = StoreURL.parse("memory://name")
store = leadership_open_store(url)
store.put("a", b"parent")
with store.state._lock:  # as another thread might hold it at the fork
    child = os.fork()
    if not child:
        store.after_fork_in_child()
        try:
            store.get("a")
        except ForkedStore:
            pass
        else:
            os._exit(1)
        store.close()
        new = leadership_open_store(url)
        os._exit(0 if new.get("a") is None and new.put("a", b"child") else 2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert store.get("a").value == b"parent"
"""


def test_a_forked_child_starts_with_nothing() -> None:
    """The parent's store is inert in the child; one of the same name is new, and not locked."""
    done = subprocess.run([sys.executable, "-c", _FORK], cwd=ROOT, timeout=10, check=False)

    assert done.returncode == 0


def test_a_forked_store_is_inert() -> None:
    """Once told that it is in a child, no call does anything."""
    store = open_memory("memory://")
    store.after_fork_in_child()

    with pytest.raises(ForkedStore):
        store.put("a", b"")
    store.close()
