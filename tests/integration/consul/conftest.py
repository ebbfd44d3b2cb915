from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.backend.url import StoreURL
from tests.support.servers.consul import Consul


class Opener(Protocol):
    """Opens a store, which is closed after the test."""

    def __call__(self, url: str) -> ConsulStore: ...


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Open stores by their URLs; they are closed after the test."""
    stores: list[ConsulStore] = []

    def open_it(url: str) -> ConsulStore:
        stores.append(ConsulStore(StoreURL.parse(url)))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(consul: Consul, opened: Opener) -> ConsulStore:
    """A store on the shared agent."""
    return opened(consul.url)


@pytest.fixture
def session(consul: Consul, store: ConsulStore) -> Iterator[ConsulSession]:
    """A session of that store, ended after the test also if its connections are broken."""
    found = store.open_session(10)
    yield found
    consul.request("PUT", f"/v1/session/destroy/{found.id}")


@pytest.fixture
def rival(consul: Consul, store: ConsulStore) -> Iterator[ConsulSession]:
    """Another session, as another process would have it."""
    found = store.open_session(10)
    yield found
    consul.request("PUT", f"/v1/session/destroy/{found.id}")
