"""Fixtures of the Kubernetes tests: stores and sessions on the shared cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from leadership_core.backend.url import StoreURL
from leadership_kubernetes.names import name_of
from leadership_kubernetes.session import KubernetesSession
from leadership_kubernetes.store import KubernetesStore
from tests.support.servers.kubernetes import Kubernetes


class Opener(Protocol):
    """Opens a store, which the test need not close."""

    def __call__(self, url: str) -> KubernetesStore: ...


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens stores by their URLs, and closes them after the test."""
    stores: list[KubernetesStore] = []

    def open_it(url: str) -> KubernetesStore:
        stores.append(KubernetesStore(StoreURL.parse(url)))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(shared_kubernetes: Kubernetes, opened: Opener) -> KubernetesStore:
    """A store on the shared cluster."""
    return opened(shared_kubernetes.url)


@pytest.fixture
def session(store: KubernetesStore) -> Iterator[KubernetesSession]:
    """A session of that store, closed after the test."""
    found = store.open_session(60)
    yield found
    found.close()


@pytest.fixture
def rival(shared_kubernetes: Kubernetes, opened: Opener) -> Iterator[KubernetesSession]:
    """The session of another store, as another process would have it."""
    found = opened(shared_kubernetes.url).open_session(60)
    yield found
    found.close()


@pytest.fixture
def name(unique_key: str) -> str:
    """The name of the Lease at the key of the test."""
    return name_of(unique_key)
