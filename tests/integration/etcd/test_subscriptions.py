"""Subscriptions: their watches end, survive errors, and cause no busy loop."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from leadership_core.errors import NotApplied, StoreUnavailable
from leadership_etcd.rpc import WatchEvent
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from leadership_etcd.subscriptions import LeaderSubscription
from leadership_etcd.watch_stream import Watch
from tests.conftest import ProxyFactory
from tests.integration.etcd.conftest import Opener
from tests.integration.etcd.tools import is_led_by, watcher_of
from tests.support.servers.etcd import Etcd, EtcdServer
from tests.support.waiting import Seen, at_most, has_value, wait_until


def _watches(store: EtcdStore) -> list[Watch]:
    return list(watcher_of(store).watches)


def test_event_during_open_leaves_no_watch_behind(
    shared_etcd: Etcd,
    store: EtcdStore,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The leader changes while the watch is being opened, slowly."""
    far, seen = opened(shared_etcd.url), Seen()
    begin, first = watcher_of(far).open, threading.Event()

    def slowly(*words: Any) -> Watch:
        watch = begin(*words)
        if not first.is_set():
            first.set()
            time.sleep(0.5)  # the event comes during this time
        return watch

    session = store.open_session(60)
    claim = store.election(unique_key).enter(session, b"Frank")
    monkeypatch.setattr(watcher_of(far), "open", slowly)
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


def test_replaced_store_leaves_no_watch_behind(etcd: EtcdServer, opened: Opener) -> None:
    """Its revisions start again: each state is read once more, and watched once."""
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
    tree.wait(lambda one: isinstance(one, list) and one != [] and one[0].value == b"3")
    time.sleep(0.2)
    assert len(_watches(store)) == 2
    for view in views:
        view.close()
    assert _watches(store) == []


def test_subscription_survives_unexpected_error(
    store: EtcdStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reports a `StoreUnavailable` and goes on."""
    begin, failures, seen = watcher_of(store).open, [RuntimeError("can't start new thread")], Seen()

    def open_it(*words: Any) -> Watch:
        if failures:
            raise failures.pop()
        return begin(*words)

    monkeypatch.setattr(watcher_of(store), "open", open_it)
    watch = store.watch(unique_key, seen)

    wait_until(lambda: any(isinstance(one, StoreUnavailable) for one in seen))
    seen.wait(lambda one: one is None)
    wait_until(lambda: _watches(store))
    store.put(unique_key, b"1")
    seen.wait(has_value(b"1"))
    watch.close()


def test_thread_that_cannot_be_started_is_started_later(
    store: EtcdStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system has no thread to spare when the first watch begins."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    seen = Seen()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(NotApplied):
            store.watch(unique_key, seen)

    watch = store.watch(unique_key, seen)
    store.put(unique_key, b"1")

    seen.wait(has_value(b"1"))
    watch.close()


def test_streams_that_break_repeatedly_cause_no_busy_loop(
    shared_etcd: Etcd, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """Each has answered before it breaks, so the server is there; there are pauses all the same."""
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


def test_silent_name_server_does_not_delay_past_timeout(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This includes the connection that reads the certificate before gRPC begins."""
    from leadership_core.backend.deadline import call_timeout

    release = threading.Event()
    ask = socket.getaddrinfo

    def silent(host: str, *words: Any, **more: Any) -> Any:
        if host == "silent.invalid" and not more.get("flags"):
            release.wait(10)
        return ask(host, *words, **more)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    store = opened("etcd+tls://silent.invalid?verify=false")
    began = time.monotonic()

    with call_timeout(0.5), pytest.raises(StoreUnavailable):
        store.get("k")

    took = time.monotonic() - began
    release.set()
    assert took < at_most(0.9)


def test_leader_is_found_without_lease_in_events(
    store: EtcdStore, session: EtcdSession, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Etcd 3.7 leaves out the lease in other answers: what an event lacks is read."""
    on_events = LeaderSubscription.on_events

    def without_lease(self: LeaderSubscription, events: Sequence[WatchEvent]) -> None:
        on_events(self, [replace(event, kv=replace(event.kv, lease=0)) for event in events])

    monkeypatch.setattr(LeaderSubscription, "on_events", without_lease)
    seen = Seen()
    watch = store.election(unique_key).watch_leader(seen)
    seen.wait(lambda one: one is None)
    wait_until(lambda: [one.id is None for one in _watches(store)] == [False])
    store.election(unique_key).enter(session, b"Frank")
    seen.wait(is_led_by("Frank"))
    watch.close()
