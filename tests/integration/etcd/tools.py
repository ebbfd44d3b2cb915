"""Helpers of the etcd tests; only they access internals of a store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from leadership_core.backend.protocols import Leader
from leadership_etcd.client import Client
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from leadership_etcd.watch import Watcher

__all__ = [
    "client_of",
    "is_led_by",
    "same_session",
    "sockets",
    "store_threads",
    "watcher_of",
]


def client_of(store: EtcdStore) -> Client:
    """The client of a store, for requests that the library itself does not make."""
    return store.client


def watcher_of(store: EtcdStore) -> Watcher:
    """The watcher of a store, to see which watches are open and to hold them up."""
    return store.watcher


def same_session(store: EtcdStore, session: EtcdSession) -> EtcdSession:
    """A session of another store with the requests of this one."""
    return EtcdSession(client_of(store), session.lease, session.ttl)


def is_led_by(name: str) -> Callable[[object], bool]:
    """A condition for `Seen.wait`: that leader."""
    return lambda seen: isinstance(seen, Leader) and seen.value == name


def store_threads() -> list[str]:
    """The names of the threads that the store, or gRPC for it, has started."""
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("leadership-etcd"))


def sockets() -> set[str]:
    """The sockets that this process has open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
