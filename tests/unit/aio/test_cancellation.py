"""Cancellation of bodies: by the loss of the term, by other code, and by both."""

from __future__ import annotations

import asyncio
import time

import pytest

from leadership_core import LeadershipLost, Store as BlockingStore
from leadership_core.aio import Candidate, open_store
from tests.unit.aio.blocks import KEY, Block, cancelling, is_free, leading, lock, working
from tests.unit.aio.conftest import Run


@pytest.fixture(params=[leading, working, lock], ids=lambda block: block.__name__)
def block(request: pytest.FixtureRequest) -> Block:
    """Each of the blocks whose body is cancelled."""
    found: Block = request.param
    return found


# -- by the loss --------------------------------------------------------------------------------


def test_loss_cancels_the_body_and_raises_leadership_lost(
    run: Run, url: str, operator: BlockingStore, block: Block
) -> None:
    """The block raises `LeadershipLost` in place of the error, and the task is not being cancelled."""

    async def main() -> None:
        async with open_store(url) as store:
            seen: list[type[BaseException]] = []
            try:
                async with block(store):
                    operator.delete(KEY)
                    try:
                        await asyncio.sleep(60)
                    except BaseException as error:
                        seen.append(type(error))
                        raise
            except BaseException as error:  # noqa: BLE001 - whatever it is
                seen.append(type(error))
            assert seen == [asyncio.CancelledError, LeadershipLost]
            assert cancelling() == 0
            await asyncio.sleep(0.01)  # no cancellation comes later

    run(main())


def test_loss_is_raised_where_the_body_swallows_the_cancellation(
    run: Run, url: str, operator: BlockingStore, block: Block
) -> None:
    """A body that catches `CancelledError` and goes on ends in `LeadershipLost`, too."""

    async def main() -> None:
        async with open_store(url) as store:
            with pytest.raises(LeadershipLost):
                async with block(store):
                    operator.delete(KEY)
                    with pytest.raises(asyncio.CancelledError):
                        await asyncio.sleep(60)
                    await asyncio.sleep(0.01)  # it is cancelled once only
            assert cancelling() == 0

    run(main())


def test_loss_is_raised_at_the_end_of_a_body_that_never_awaits(
    run: Run, url: str, operator: BlockingStore, block: Block
) -> None:
    """A body that gave asyncio no occasion to cancel it ends in `LeadershipLost`; nothing is cancelled later."""

    async def main() -> None:
        async with open_store(url) as store:
            with pytest.raises(LeadershipLost):
                async with block(store) as term:
                    operator.delete(KEY)
                    while not term.lost:
                        time.sleep(0.005)
            assert cancelling() == 0
            await asyncio.sleep(0.01)

    run(main())


def test_error_of_the_body_wins_over_the_loss(
    run: Run, url: str, operator: BlockingStore, block: Block
) -> None:
    """What the body raises while it is cancelled goes on, and the count is right."""

    async def main() -> None:
        async with open_store(url) as store:
            with pytest.raises(KeyError, match="cleanup"):
                async with block(store):
                    operator.delete(KEY)
                    try:
                        await asyncio.sleep(60)
                    finally:
                        raise KeyError("cleanup")
            assert cancelling() == 0

    run(main())


def test_loss_in_a_task_group_cancels_its_tasks(
    run: Run, url: str, operator: BlockingStore, block: Block
) -> None:
    """A group inside the body is cancelled with it, and awaited before the block raises."""

    async def main() -> None:
        async with open_store(url) as store:
            ended: list[int] = []

            async def part(number: int) -> None:
                try:
                    await asyncio.sleep(60)
                finally:
                    ended.append(number)

            with pytest.raises(LeadershipLost):
                async with block(store), asyncio.TaskGroup() as group:
                    for number in range(3):
                        group.create_task(part(number))
                    await asyncio.sleep(0)
                    operator.delete(KEY)
            assert sorted(ended) == [0, 1, 2]
            assert cancelling() == 0

    run(main())


def test_block_inside_a_task_group_fails_the_group(
    run: Run, url: str, operator: BlockingStore, block: Block
) -> None:
    """A task that loses leadership fails its group as any error does; a cancelled one would not."""

    async def main() -> None:
        async with open_store(url) as store:

            async def work() -> None:
                async with block(store):
                    operator.delete(KEY)
                    await asyncio.sleep(60)

            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    group.create_task(work())
                    group.create_task(asyncio.sleep(60))
            assert [type(error) for error in caught.value.exceptions] == [LeadershipLost]

    run(main())


def test_nested_blocks_of_one_term_both_report_the_loss(
    run: Run, url: str, operator: BlockingStore
) -> None:
    """The inner block raises `LeadershipLost`; code between the two that goes on is cancelled again."""

    async def main() -> None:
        async with open_store(url) as store:
            candidate = Candidate(store, KEY, "node-1", ttl=3)
            inner = []
            with pytest.raises(LeadershipLost):
                async with candidate.leading(5):
                    try:
                        async with candidate.working():
                            operator.delete(KEY)
                            await asyncio.sleep(60)
                    except LeadershipLost as error:
                        inner.append(error)
                    await asyncio.sleep(60)
            assert len(inner) == 1
            assert cancelling() == 0

    run(main())


def test_loss_of_the_outer_term_leaves_the_inner_block_as_a_cancellation(
    run: Run, url: str, operator: BlockingStore
) -> None:
    """A lock inside `leading` is released, and only the block of the lost term raises `LeadershipLost`."""

    async def main() -> None:
        async with open_store(url) as store:
            seen = []
            with pytest.raises(LeadershipLost, match=KEY):
                async with leading(store):
                    try:
                        async with store.lock("other"):
                            operator.delete(KEY)
                            await asyncio.sleep(60)
                    except BaseException as error:
                        seen.append(type(error))
                        raise
            assert seen == [asyncio.CancelledError]
            assert await store.leader("other") is None
            assert cancelling() == 0

    run(main())


# -- from outside -------------------------------------------------------------------------------


def test_cancellation_from_outside_releases_and_goes_on(run: Run, url: str, block: Block) -> None:
    """The task ends cancelled, and the election is free when it has."""

    async def main() -> None:
        async with open_store(url) as store:
            entered = asyncio.Event()

            async def work() -> None:
                async with block(store):
                    entered.set()
                    await asyncio.sleep(60)

            task = asyncio.create_task(work())
            await entered.wait()
            task.cancel("by hand")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert task.cancelling() == 1
            assert await is_free(store)

    run(main())


def test_timeout_around_a_block_raises_timeout_error(run: Run, url: str, block: Block) -> None:
    """`asyncio.timeout` gets its own cancellation back."""

    async def main() -> None:
        async with open_store(url) as store:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2), block(store):
                    await asyncio.sleep(60)
            assert cancelling() == 0
            assert await is_free(store)

    run(main())


def test_timeout_inside_a_block_does_not_end_it(run: Run, url: str, block: Block) -> None:
    """`asyncio.timeout` in the body raises there, and the term goes on."""

    async def main() -> None:
        async with open_store(url) as store:
            async with block(store) as term:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await asyncio.sleep(60)
                assert not term.lost
            assert await is_free(store)

    run(main())


def test_failing_task_group_around_a_block_releases(run: Run, url: str, block: Block) -> None:
    """A group that is aborted cancels the block, which releases, and reports the error of its task alone."""

    async def main() -> None:
        async with open_store(url) as store:
            entered = asyncio.Event()

            async def work() -> None:
                async with block(store):
                    entered.set()
                    await asyncio.sleep(60)

            async def fail() -> None:
                await entered.wait()
                raise KeyError("other")

            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    group.create_task(work())
                    group.create_task(fail())
            assert [type(error) for error in caught.value.exceptions] == [KeyError]
            assert await is_free(store)

    run(main())


@pytest.mark.parametrize("first", ["loss", "outside"])
def test_cancellation_from_outside_wins_over_the_loss(
    run: Run, url: str, operator: BlockingStore, block: Block, first: str
) -> None:
    """With both, in whatever order, the `CancelledError` goes on, and one request is left counted."""

    async def main() -> None:
        async with open_store(url) as store:
            entered = asyncio.Event()

            async def work() -> None:
                async with block(store) as term:
                    entered.set()
                    try:
                        await asyncio.sleep(60)
                    finally:
                        await_lost = asyncio.create_task(term.wait_lost(5))
                        while not await_lost.done():  # with the second request, too
                            try:
                                await asyncio.shield(await_lost)
                            except asyncio.CancelledError:
                                continue
                        while task.cancelling() < 2:
                            try:
                                await asyncio.sleep(0.001)
                            except asyncio.CancelledError:
                                continue

            task = asyncio.create_task(work())
            await entered.wait()
            if first == "outside":
                task.cancel()
                await asyncio.sleep(0)
            operator.delete(KEY)
            if first == "loss":
                while task.cancelling() == 0:
                    await asyncio.sleep(0.001)
                task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), task
            assert task.cancelling() == 1

    run(main())


def test_timeout_and_loss_at_once_raise_timeout_error(
    run: Run, url: str, operator: BlockingStore, block: Block
) -> None:
    """A timeout that ends during the loss is one: neither it nor the loss is swallowed by the other."""

    async def main() -> None:
        async with open_store(url) as store:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(None) as timeout, block(store) as term:
                    operator.delete(KEY)
                    while not term.lost:
                        time.sleep(0.005)
                    timeout.reschedule(0)
                    await asyncio.sleep(0)
                    await asyncio.sleep(60)
            assert cancelling() == 0

    run(main())
