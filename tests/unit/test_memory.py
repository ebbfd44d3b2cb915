"""Properties of `memory://` alone: names, and a thread that runs only when needed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from leadership_core.backend.url import StoreURL
from leadership_core.errors import ForkedStore, URLError
from leadership_core.stores.memory import MemoryStore, leadership_open_store
from tests.support.waiting import Seen, at_most

ROOT = Path(__file__).parents[2]


def open_memory(url: str) -> MemoryStore:
    store = leadership_open_store(StoreURL.parse(url))
    assert isinstance(store, MemoryStore)
    return store


def timers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("leadership-memory-")]


def test_stores_of_one_name_share_their_content() -> None:
    """They do so even after the first was closed."""
    name = uuid.uuid4().hex
    first = open_memory(f"memory://{name}")
    entry = first.put("a", b"1")
    first.close()

    assert open_memory(f"memory://{name}").get("a") == entry
    assert open_memory(f"memory://{name}-other").get("a") is None


def test_store_without_a_name_is_private() -> None:
    """Each memory:// is a store of its own."""
    open_memory("memory://").put("a", b"1")

    assert open_memory("memory://").get("a") is None


def test_url_path_is_the_prefix() -> None:
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
def test_url_with_more_than_a_name_is_refused(url: str, why: str) -> None:
    """A part that would be ignored is an error."""
    with pytest.raises(URLError, match=why):
        open_memory(url)


def test_plugin_ignores_other_schemes() -> None:
    """The plugin opens its own scheme only."""
    assert leadership_open_store(StoreURL.parse("consul://name")) is None


def test_watch_reports_an_expiry_without_any_call() -> None:
    """It does so within 50 ms of the expiry."""
    store, seen = open_memory("memory://"), Seen()
    watch = store.watch("a", seen)
    session = store.open_session(0.1)
    store.put("a", b"", session=session)
    began = time.monotonic()
    session.renew()

    seen.wait_for(None)
    assert 0.1 <= time.monotonic() - began < at_most(0.15)
    watch.close()


def test_watch_reports_an_earlier_expiry_in_time() -> None:
    """A short session that is opened after a long one is reported when it ends, not later."""
    store, seen = open_memory("memory://"), Seen()
    watch = store.watch("a", seen)
    store.open_session(60)
    time.sleep(0.02)
    store.put("a", b"", session=store.open_session(0.05))

    seen.wait_for(None, seconds=0.5)
    watch.close()


def test_timer_runs_only_with_a_watch_and_a_session() -> None:
    """There is no thread without a watch or without a session, and none afterwards."""
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


def test_close_ends_the_timer() -> None:
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
from leadership_core.stores.memory import leadership_open_store
from leadership_core.backend.url import StoreURL

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


def test_forked_child_opens_new_stores() -> None:
    """The parent's store is inert in the child; one of the same name is new, and not locked."""
    done = subprocess.run([sys.executable, "-c", _FORK], cwd=ROOT, timeout=10, check=False)

    assert done.returncode == 0


def test_forked_store_is_inert() -> None:
    """After a fork no call has an effect."""
    store = open_memory("memory://")
    store.after_fork_in_child()

    with pytest.raises(ForkedStore):
        store.put("a", b"")
    store.close()
