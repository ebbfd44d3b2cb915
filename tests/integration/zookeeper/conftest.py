"""Fixtures of the ZooKeeper store's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from leadership_core.backend.url import StoreURL
from leadership_core.errors import LeadershipError
from leadership_zookeeper.session import ZooKeeperSession
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.tools import TTL, kazoo
from tests.support.servers.zookeeper import ZooKeeper

Opener = Callable[[str], ZooKeeperStore]
"""Opens a store, which the test need not close."""

SessionOpener = Callable[[], ZooKeeperSession]
"""Opens a session of the store."""


@pytest.fixture
def opened() -> Iterator[Opener]:
    """A function that opens stores by their URLs, and closes them after the test."""
    stores: list[ZooKeeperStore] = []

    def open_it(url: str) -> ZooKeeperStore:
        stores.append(ZooKeeperStore(StoreURL.parse(url)))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(shared_zookeeper: ZooKeeper, opened: Opener) -> ZooKeeperStore:
    """A store on the shared server."""
    return opened(shared_zookeeper.url)


@pytest.fixture
def sessions(store: ZooKeeperStore) -> Iterator[SessionOpener]:
    """A function that opens sessions, and closes them after the test."""
    found: list[ZooKeeperSession] = []

    def open_one() -> ZooKeeperSession:
        found.append(store.open_session(TTL))
        return found[-1]

    yield open_one
    for session in found:
        with suppress(LeadershipError):
            session.close()


@pytest.fixture
def session(sessions: SessionOpener) -> ZooKeeperSession:
    """A session."""
    return sessions()


@pytest.fixture
def rival(sessions: SessionOpener) -> ZooKeeperSession:
    """A session of another candidate."""
    return sessions()


@pytest.fixture
def operator(shared_zookeeper: ZooKeeper) -> Iterator[Any]:
    """A kazoo client of an operator, on the shared server."""
    with kazoo(shared_zookeeper.port) as client:
        yield client
