"""Fixtures of the PostgreSQL tests: stores and sessions on the shared server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from leadership_core.backend.url import StoreURL
from leadership_postgres.store import PostgresStore
from tests.support.servers.postgres import PostgresServer


class Opener(Protocol):
    """Opens a store, which the test need not close."""

    def __call__(self, url: str) -> PostgresStore: ...


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens stores by their URLs, and closes them after the test."""
    stores: list[PostgresStore] = []

    def open_it(url: str) -> PostgresStore:
        stores.append(PostgresStore(StoreURL.parse(url)))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(shared_postgres: PostgresServer, opened: Opener) -> PostgresStore:
    """A store on the shared server."""
    return opened(shared_postgres.url)
