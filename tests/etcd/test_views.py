"""Views and their watches: none is left behind, none dies, none makes a hot loop."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from leadership_core.errors import NotDone, StoreUnavailable
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from leadership_etcd.stream import Watch
from leadership_etcd.views import LeaderView
from tests.conftest import ProxyFactory
from tests.etcd.conftest import Opener
from tests.etcd.tools import Seen, has_value, is_led_by, wait_until
from tests.servers.etcd import Etcd, EtcdServer
from tests.support.machine import at_most


def _watches(store: EtcdStore) -> list[Watch]:
    return list(store._watcher._watches)


def test_an_event_that_comes_at_once_leaves_no_watch_behind(
    shared_etcd: Etcd,
    store: EtcdStore,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The leader changes while the one who reads is about to watch, and is slow with it."""
    far, seen = opened(shared_etcd.url), Seen()
    begin, first = far._watcher.open, threading.Event()

    def slowly(*words: Any) -> Watch:
        watch = begin(*words)
        if not first.is_set():
            first.set()
            time.sleep(0.5)  # the event comes now
        return watch

    session = store.open_session(60)
    claim = store.election(unique_key).enter(session, b"Frank")
    monkeypatch.setattr(far._watcher, "open", slowly)
    watch = far.election(unique_key).watch_leader(seen)
    assert first.wait(5)
    store.election(unique_key).withdraw(claim)

    seen.wait(lambda one: one is None)
    wait_until(lambda: len(_watches(far)) == 1)
    store.election(unique_key).enter(session, b"Claire")
    seen.wait(is_led_by("Claire"))
    time.sleep(0.1)
    assert len(_watches(far)) == 1
    watch.close()
    assert _watches(far) == []
    session.close()


def test_a_store_that_was_replaced_leaves_no_watch_behind(etcd: EtcdServer, opened: Opener) -> None:
    """It counts from the start again: each state is read anew, and watched once."""
    store, entry, tree = opened(etcd.url), Seen(), Seen()
    store.put("k", b"1")
    store.put("k", b"2")
    views = [store.watch("k", entry), store.watch("k", tree, tree=True)]
    entry.wait(has_value(b"2"))
    tree.wait(lambda one: one == [])

    etcd.kill()
    for seen in (entry, tree):
        seen.wait(lambda one: isinstance(one, StoreUnavailable))
    shutil.rmtree(etcd.folder / "data")
    etcd.start()

    entry.wait(lambda one: one is None, 10)
    wait_until(lambda: store.put("k/below", b"3"), 10)
    tree.wait(lambda one: one and one[0].value == b"3")
    time.sleep(0.2)
    assert len(_watches(store)) == 2
    for view in views:
        view.close()
    assert _watches(store) == []


def test_a_view_outlives_an_error_that_nobody_thought_of(
    store: EtcdStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that something is wrong, and goes on."""
    begin, failures, seen = store._watcher.open, [RuntimeError("can't start new thread")], Seen()

    def open_it(*words: Any) -> Watch:
        if failures:
            raise failures.pop()
        return begin(*words)

    monkeypatch.setattr(store._watcher, "open", open_it)
    watch = store.watch(unique_key, seen)

    wait_until(lambda: any(isinstance(one, StoreUnavailable) for one in seen))
    seen.wait(lambda one: one is None)
    wait_until(lambda: _watches(store))
    store.put(unique_key, b"1")
    seen.wait(has_value(b"1"))
    watch.close()


def test_a_thread_that_could_not_be_started_is_started_later(
    store: EtcdStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system has no thread to spare when the first watch begins."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    seen = Seen()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(NotDone):
            store.watch(unique_key, seen)

    watch = store.watch(unique_key, seen)
    store.put(unique_key, b"1")

    seen.wait(has_value(b"1"))
    watch.close()


def test_streams_that_break_again_and_again_are_no_hot_loop(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """Each has answered before it breaks, so the server is there; all the same there are pauses."""
    link = proxy(shared_etcd.port)
    far, seen = opened(shared_etcd.url_at(link.port)), Seen()
    watch = far.watch(unique_key, seen)
    seen.wait(lambda one: one is None)

    until, before = time.monotonic() + 4, link.connections
    while time.monotonic() < until:
        connections = link.connections
        link.reset()
        while link.connections == connections and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.05)  # in which the stream is there, and has answered

    assert link.connections - before <= 20
    far.put(unique_key, b"1")
    seen.wait(has_value(b"1"))
    watch.close()


def test_a_name_server_that_is_silent_holds_nobody(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the certificate is fetched before gRPC begins."""
    from leadership_core.budget import budget

    release = threading.Event()
    ask = socket.getaddrinfo

    def silent(host: str, *words: Any, **more: Any) -> Any:
        if host == "silent.invalid" and not more.get("flags"):
            release.wait(10)
        return ask(host, *words, **more)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    store = opened("etcd+tls://silent.invalid?verify=false")
    began = time.monotonic()

    with budget(0.5), pytest.raises(StoreUnavailable):
        store.get("k")

    took = time.monotonic() - began
    release.set()
    assert took < at_most(0.9)


def test_a_leader_is_found_although_events_leave_out_the_lease(
    store: EtcdStore, session: EtcdSession, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As etcd 3.7 does in other answers: what an event leaves out is read."""
    changed = LeaderView.changed

    def without_lease(self: LeaderView, events: Sequence[Any]) -> None:
        for event in events:
            event.kv.ClearField("lease")
        changed(self, events)

    monkeypatch.setattr(LeaderView, "changed", without_lease)
    seen = Seen()
    watch = store.election(unique_key).watch_leader(seen)
    seen.wait(lambda one: one is None)
    wait_until(lambda: [one.id is None for one in _watches(store)] == [False])
    store.election(unique_key).enter(session, b"Frank")
    seen.wait(is_led_by("Frank"))
    watch.close()
