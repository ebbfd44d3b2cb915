"""Fixtures of the etcd tests: stores and sessions on the shared server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from leadership_core.backend.url import StoreURL
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.support.servers.etcd import Etcd


class Opener(Protocol):
    """Opens a store, which the test need not close."""

    def __call__(self, url: str) -> EtcdStore: ...


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens stores by their URLs, and closes them after the test."""
    stores: list[EtcdStore] = []

    def open_it(url: str) -> EtcdStore:
        stores.append(EtcdStore(StoreURL.parse(url)))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(shared_etcd: Etcd, opened: Opener) -> EtcdStore:
    """A store on the shared etcd."""
    return opened(shared_etcd.url)


@pytest.fixture
def session(store: EtcdStore) -> Iterator[EtcdSession]:
    """A session of that store, closed after the test."""
    found = store.open_session(60)
    yield found
    found.close()


@pytest.fixture
def rival(shared_etcd: Etcd, opened: Opener) -> Iterator[EtcdSession]:
    """The session of another store, as another process would have it."""
    found = opened(shared_etcd.url).open_session(60)
    yield found
    found.close()
