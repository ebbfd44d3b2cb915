"""The blocks of asyncio whose body is cancelled when the term is lost, and what tests ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from leadership_core.aio import Candidate, Store, Term

__all__ = ["KEY", "Block", "cancelling", "is_free", "leading", "lock", "working"]

KEY = "service/api"

Block = Callable[[Store], AbstractAsyncContextManager[Term]]


def leading(store: Store) -> AbstractAsyncContextManager[Term]:
    return Candidate(store, KEY, "node-1", ttl=3).leading(5)


@asynccontextmanager
async def working(store: Store) -> Any:
    async with Candidate(store, KEY, "node-1", ttl=3) as candidate:
        await candidate.wait_elected(5)
        async with candidate.working() as term:
            yield term


def lock(store: Store) -> AbstractAsyncContextManager[Term]:
    return store.lock(KEY, ttl=3)


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def is_free(store: Store) -> bool:
    return await store.leader(KEY) is None
