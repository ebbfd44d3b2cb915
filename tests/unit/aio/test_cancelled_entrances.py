"""Cancellation of the entrance of a block, before its body begins."""

from __future__ import annotations

import asyncio
import time

import pytest

from leadership_core import NotElected, Store as BlockingStore
from leadership_core.aio import Candidate, open_store
from tests.unit.aio.blocks import KEY, is_free, leading, lock
from tests.unit.aio.conftest import Run


@pytest.mark.parametrize("kind", ["leading", "lock"])
def test_cancelled_entrance_leaves_the_election(
    run: Run, url: str, operator: BlockingStore, kind: str
) -> None:
    """A wait for a held election that is cancelled leaves no claim that wins later."""

    async def main() -> None:
        async with open_store(url) as store:
            held = operator.lock(KEY, "other")
            other = held.acquire(5)
            assert other is not None
            block = leading(store) if kind == "leading" else lock(store)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), block:
                    pytest.fail("it is held")
            held.release(other)
            await asyncio.sleep(0.1)
            assert await is_free(store)

    run(main())


@pytest.mark.parametrize("kind", ["leading", "lock", "acquire"])
def test_entrance_cancelled_as_it_is_granted_holds_nothing(
    run: Run, url: str, operator: BlockingStore, kind: str
) -> None:
    """Cancelled between the grant and its first step, a task leaves the election free."""

    async def main() -> None:
        async with open_store(url) as store:
            for steps in range(8):
                held = operator.lock(KEY, "other")
                other = held.acquire(5)
                assert other is not None

                async def enter() -> None:
                    if kind == "acquire":
                        await store.lock(KEY).acquire()
                        return
                    async with leading(store) if kind == "leading" else lock(store):
                        await asyncio.sleep(60)

                task = asyncio.create_task(enter())
                await asyncio.sleep(0.02)
                held.release(other)
                until = time.monotonic() + 5
                while operator.leader(KEY) is None and time.monotonic() < until:
                    time.sleep(0.002)  # the loop is blocked: it does not see the grant
                assert operator.leader(KEY) is not None
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                if task.cancelled():
                    assert await is_free(store)
                else:  # `acquire` had returned before
                    assert kind == "acquire"
                    operator.delete(KEY)

    run(main())


def test_cancelled_wait_leaves_the_election_that_it_has_entered(
    run: Run, url: str, operator: BlockingStore
) -> None:
    """`wait_elected` takes back what it has started; a campaign that was started before goes on."""

    async def main() -> None:
        async with open_store(url) as store:
            with operator.lock(KEY, "other"):
                alone, started = (Candidate(store, KEY, name, ttl=3) for name in ("a", "b"))
                started.start()
                for candidate in (alone, started):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(candidate.wait_elected(), 0.1)
            async for elected in started.run_for_election():
                if elected:
                    break
            await started.stop()
            await asyncio.sleep(0.1)
            assert await is_free(store)

    run(main())


def test_working_without_leadership_raises_not_elected(run: Run, url: str) -> None:
    """There is no term to work for, so the body does not begin."""

    async def main() -> None:
        async with open_store(url) as store:
            candidate = Candidate(store, KEY, "node-1")
            with pytest.raises(NotElected, match=KEY):
                async with candidate.working():
                    pytest.fail("it does not lead")

    run(main())
