"""The store, its locks, watches and sessions in asyncio."""

from __future__ import annotations

import asyncio

import pytest

from leadership_core import (
    ABSENT,
    ConfigurationError,
    Conflict,
    Entry,
    Fenced,
    Store as BlockingStore,
    StoreClosed,
)
from leadership_core.aio import Store, open_store
from tests.support.waiting import at_most
from tests.unit.aio.conftest import Run
from tests.unit.faulty import Fault, FaultyStore


def test_requests_have_the_meaning_that_they_have_for_threads(run: Run, url: str) -> None:
    """Reads, writes, comparisons, fences, trees and sessions."""

    async def main() -> None:
        async with open_store(url) as store:
            entry = await store.put("a/1", b"1", expect=ABSENT)
            assert await store.get("a/1") == entry
            with pytest.raises(Conflict):
                await store.put("a/1", b"2", expect=ABSENT)
            await store.put("a/2", b"2")
            assert [one.key for one in await store.list("a")] == ["a/1", "a/2"]
            assert await store.exists("a/1")
            assert await store.delete("a/1")
            assert await store.delete_tree("a") == 1
            async with store.lock("lock") as term:
                await store.put("state", b"1", fence=term)
                leader = await store.leader("lock")
                assert leader is not None
                assert leader.token == term.token
            with pytest.raises(Fenced):
                await store.put("state", b"2", fence=term)
            async with await store.open_session(ttl=10) as session:
                bound = await store.put("bound", b"1", session=session)
                assert bound.session == session.id
                assert await session.renew() == session.ttl
            assert not await store.exists("bound")
            assert store.expires_within(10) >= 10
        with pytest.raises(StoreClosed):
            await store.get("a")

    run(main())


def test_watch_is_an_iterator_or_has_a_callback(
    run: Run, url: str, operator: BlockingStore
) -> None:
    """Both deliver the present state, then the latest ones, and end when they are closed."""

    async def main() -> None:
        async with open_store(url) as store:
            seen: list[object] = []
            changed = asyncio.Event()

            async def on_change(change: object) -> None:
                await asyncio.sleep(0)
                seen.append(change)
                changed.set()

            watch = await store.watch_tree("a", on_change)
            states = store.watch("a/1")
            assert await anext(states) is None
            written = operator.put("a/1", b"1")
            assert await anext(states) == written
            while seen[-1:] != [[written]]:
                changed.clear()
                await changed.wait()
            await watch.close()
            reading = asyncio.create_task(anext(states, "ended"))
            await asyncio.sleep(0)
            await states.close()
            assert await reading == "ended"
            before = len(seen)
            operator.put("a/1", b"2")
            await asyncio.sleep(0.1)
            assert len(seen) == before
            async with store.watch("a/1") as changes:
                async for change in changes:
                    assert isinstance(change, Entry)
                    break
            last = store.watch("a/1")
            await anext(last)
            reading = asyncio.create_task(anext(last, "ended"))
        assert await reading == "ended"

    run(main())


def test_lock_belongs_to_a_task(run: Run, url: str) -> None:
    """Tasks exclude each other, one task is refused a second time, and releases name their term."""

    async def main() -> None:
        async with open_store(url) as store:
            lock = store.lock("lock", ttl=5)
            inside = 0

            async def work() -> int:
                nonlocal inside
                async with lock as term:
                    inside += 1
                    assert inside == 1
                    await asyncio.sleep(0.01)
                    inside -= 1
                    return term.token

            tokens = await asyncio.gather(*(work() for _ in range(5)))
            assert len(set(tokens)) == 5
            async with lock as term:
                assert lock.term == term
                with pytest.raises(ConfigurationError, match="not reentrant"):
                    await lock.acquire()
                assert await store.lock("lock").acquire(0) is None
                with pytest.raises(ConfigurationError, match="name the term"):
                    await asyncio.create_task(lock.release())
            held = await lock.acquire(5)
            assert await lock.release(held)
            assert not await lock.release(held)
            assert await store.leader("lock") is None

    run(main())


def test_cancelled_put_is_not_awaited_and_may_take_effect(run: Run) -> None:
    """The task ends at once; the request goes on in its thread."""

    async def main() -> None:
        faulty = FaultyStore()
        with faulty.opened() as blocking:
            store = Store(blocking)
            faulty.lateness = 0.3
            faulty.inject(Fault.DELAYED, "put", times=1)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.put("key", b"late"), 0.05)
            assert loop.time() - begun < at_most(0.3)
            async with asyncio.timeout(at_most(5)):
                while await store.get("key") is None:
                    await asyncio.sleep(0.01)
            await store.close()

    run(main())


def test_close_cancels_blocks_of_other_tasks_and_waits_for_them(run: Run, url: str) -> None:
    """A store that is closed in one task ends the blocks of all others before it is closed."""

    async def main() -> None:
        store = open_store(url)
        ended: list[str] = []

        async def work(name: str) -> None:
            async with store.lock(name):
                entered.release()
                try:
                    await asyncio.sleep(60)
                finally:
                    await asyncio.sleep(0.1)
                    ended.append(name)

        entered = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(work(name)) for name in ("a", "b")]
        for _ in tasks:
            await entered.acquire()
        assert await store.close()
        assert sorted(ended) == ["a", "b"]
        assert await store.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result).__name__ for result in results] == ["LeadershipLost"] * 2

    run(main())


def test_closed_store_fails_requests_that_wait(run: Run) -> None:
    """Requests that no thread has begun when the store is closed end in `StoreClosed`."""

    async def main() -> None:
        faulty = FaultyStore()
        with faulty.opened() as blocking:
            store = Store(blocking)
            faulty.lateness = 1
            faulty.inject(Fault.DELAYED, "get")
            requests = [asyncio.create_task(store.get(f"k{number}")) for number in range(30)]
            await asyncio.sleep(0.05)
            await store.close(0.2)
            async with asyncio.timeout(at_most(10)):
                results = await asyncio.gather(*requests, return_exceptions=True)
            assert sum(isinstance(result, StoreClosed) for result in results) >= 20

    run(main())
