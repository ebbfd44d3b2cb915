"""A stage for each recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from leadership_core import open_store
from tests.recipes.catalogue import RECIPES
from tests.recipes.programs import Stage
from tests.support.servers.redis import RedisServer
from tests.support.servers.requirements import found


class SetUp(Protocol):
    """Copies a recipe, and prepares it for a store; `env` is added to that of its programs."""

    def __call__(self, name: str, url: str, **env: str) -> Stage: ...


@pytest.fixture
def set_up(quick_folder: Path) -> Iterator[SetUp]:
    """Copy a recipe for a store; its programs end with the test."""
    with ExitStack() as stack:

        def make(name: str, url: str, **env: str) -> Stage:
            folder = quick_folder / name
            folder.mkdir()
            store = stack.enter_context(open_store(url))
            return Stage(stack, RECIPES[name], folder, store, url, env)

        yield make


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, as Celery's broker."""
    server = RedisServer(found("redis"), tmp_path / "redis")
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def file_url(quick_folder: Path) -> str:
    """A SQLite file as the store."""
    return f"sqlite:///{quick_folder}/leadership.db"
