"""Event loops: blocked, closed, several at once, with a full executor, and with many elections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from leadership_core import LeadershipLost, Store as BlockingStore
from leadership_core.aio import Candidate, Follower, Store, open_store
from tests.support.waiting import at_most
from tests.unit.aio.conftest import Run
from tests.unit.faulty import Fault, FaultyStore

KEY = "service/api"


# -- a blocked loop -----------------------------------------------------------------------------


def test_blocked_loop_stops_no_renewal(run: Run, url: str) -> None:
    """A coroutine that sleeps for three ttls still leads afterwards, for the same term."""

    async def main() -> None:
        async with (
            open_store(url) as store,
            Candidate(store, KEY, "node-1", ttl=2).leading() as term,
        ):
            time.sleep(3 * 2)
            assert not term.lost
            await asyncio.sleep(0.05)
            assert (await store.put("state", b"1", fence=term)).value == b"1"

    run(main())


def test_blocked_loop_reads_no_stale_leadership(run: Run) -> None:
    """The store goes away while the loop is blocked: the first read after it says no."""

    async def main() -> None:
        faulty = FaultyStore()
        with faulty.opened() as blocking:
            store = Store(blocking)
            candidate = Candidate(store, KEY, "node-1", ttl=0.6, margin=0.1)
            steps = []
            with pytest.raises(LeadershipLost):
                async with candidate.leading(5) as term:
                    assert candidate.is_leader
                    faulty.inject(Fault.UNAVAILABLE, "renew")
                    time.sleep(3 * 0.6)
                    steps.append((candidate.is_leader, candidate.term, term.lost))
                    await asyncio.sleep(60)
                    steps.append((True, None, False))
            assert steps == [(False, None, True)]
            faulty.heal()
            await store.close()

    run(main())


def test_body_keeps_the_claim_until_it_has_ended(run: Run, url: str) -> None:
    """After `resign` in another task the body is cancelled, and no other is elected before its end."""

    async def main() -> None:
        async with open_store(url) as store:
            first, second = (Candidate(store, KEY, name, ttl=3) for name in ("a", "b"))
            order: list[str] = []

            async def lead() -> None:
                async with first.leading():
                    await second_waits()
                    try:
                        await asyncio.sleep(60)
                    finally:
                        time.sleep(0.3)
                        await asyncio.sleep(0.1)
                        order.append("body ended")

            async def second_waits() -> None:
                second.start()
                await asyncio.sleep(0.1)
                resigning.set()

            async def next_one() -> None:
                await resigning.wait()
                await second.wait_elected()
                order.append("elected")
                await second.stop()

            resigning = asyncio.Event()
            leading, waiting = asyncio.create_task(lead()), asyncio.create_task(next_one())
            await resigning.wait()
            assert await first.resign(cooldown=30)
            assert order[:1] == ["body ended"]
            with pytest.raises(LeadershipLost, match="resigned"):
                await leading
            await waiting
            assert order == ["body ended", "elected"]

    run(main())


def test_body_that_goes_on_keeps_the_claim_to_the_end_of_its_lease(run: Run, url: str) -> None:
    """A body that swallows the cancellation holds the next leader up, for the rest of the lease and no longer."""
    ttl = 3.0

    async def main() -> None:
        async with open_store(url) as store, open_store(url) as other:
            candidate = Candidate(store, KEY, "a", ttl=ttl)
            begun = time.monotonic()
            elected: list[float] = []

            async def next_one() -> None:
                async with other.lock(KEY):
                    elected.append(time.monotonic() - begun)

            with pytest.raises(LeadershipLost):
                async with candidate.leading() as term:
                    waiting = asyncio.create_task(next_one())
                    resigning = asyncio.create_task(candidate.resign(cooldown=30))
                    with pytest.raises(asyncio.CancelledError):
                        await asyncio.sleep(60)
                    assert term.lost
                    await asyncio.sleep(ttl / 10)  # far less than is left of the lease
                    assert not elected
                    await waiting
            assert not await resigning or elected
            assert elected[0] >= ttl / 2

    run(main())


# -- several loops ------------------------------------------------------------------------------


def test_two_loops_in_two_threads_share_a_store_and_a_candidate(run: Run, url: str) -> None:
    """Each loop waits by itself; a loss reaches the bodies in both."""

    async def main() -> None:
        async with open_store(url) as store, Candidate(store, KEY, "node-1") as candidate:
            await candidate.wait_elected(5)
            told: list[str] = []
            ready = threading.Barrier(3)

            async def work() -> None:
                try:
                    async with candidate.working() as term:
                        await store.put("state", b"1", fence=term)
                        await asyncio.to_thread(ready.wait, 20)
                        await asyncio.sleep(60)
                except LeadershipLost:
                    told.append(threading.current_thread().name)

            def other_loop() -> None:
                asyncio.run(work())

            threads = [threading.Thread(target=other_loop, name=name) for name in ("one", "two")]
            for thread in threads:
                thread.start()
            await asyncio.to_thread(ready.wait, 20)
            await store.delete(KEY)
            for thread in threads:
                await asyncio.to_thread(thread.join, 20)
            assert sorted(told) == ["one", "two"]

    run(main())


def test_wait_in_one_loop_ends_by_a_stop_in_another_one(run: Run, url: str) -> None:
    """Iterators of every loop end when a candidate is stopped in any of them."""

    async def main() -> None:
        async with open_store(url) as store:
            candidate, follower = Candidate(store, KEY, "node-1"), Follower(store, KEY)
            seen: list[int] = []

            async def read() -> None:
                counts = [0, 0]
                async for _ in candidate.events():
                    counts[0] += 1
                async for _ in follower.follow_election():
                    counts[1] += 1
                seen.append(counts[0])

            thread = threading.Thread(target=lambda: asyncio.run(read()))
            thread.start()
            await candidate.wait_elected()
            await candidate.stop()
            await follower.stop()
            await asyncio.to_thread(thread.join, 20)
            assert seen == [4]  # Campaigning, Elected, Resigned, Stopped; or those that are left

    run(main())


# -- threads ------------------------------------------------------------------------------------


def test_full_default_executor_stops_nothing(run: Run, url: str) -> None:
    """Requests and waits do not use the executor of the loop, which the program has filled."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        free = threading.Event()
        with ThreadPoolExecutor(1) as executor:
            loop.set_default_executor(executor)
            stuck = [asyncio.ensure_future(asyncio.to_thread(free.wait)) for _ in range(3)]
            try:
                async with asyncio.timeout(at_most(10)), open_store(url) as store:
                    await store.put("key", b"1")
                    async with Candidate(store, KEY, "node-1").leading(5) as term:
                        await term.ensure(5)
            finally:
                free.set()
            await asyncio.gather(*stuck)

    run(main())


def test_requests_beyond_the_threads_wait_within_their_time(run: Run) -> None:
    """With all threads in requests that hang, others fail as not applied, and elections go on."""

    async def main() -> None:
        faulty = FaultyStore()
        with faulty.opened() as blocking:
            store = Store(blocking)
            async with Candidate(store, KEY, "node-1") as candidate:
                await candidate.wait_elected(5)
                cancelled = [asyncio.create_task(store.get("key")) for _ in range(50)]
                await asyncio.sleep(0)
                for task in cancelled:
                    task.cancel()
                await asyncio.wait(cancelled)
                assert (await asyncio.gather(*(store.get(f"k{n}") for n in range(50)))) == [
                    None
                ] * 50
                threads = [one.name for one in threading.enumerate()]
                assert sum(name.startswith("leadership-aio") for name in threads) <= 8
                assert candidate.is_leader
            await store.close()

    run(main())


def test_two_hundred_elections_in_one_loop(run: Run, url: str) -> None:
    """They need no thread and no task each; all are won, lost and released in seconds."""
    number = 200

    async def main() -> None:
        before = threading.active_count()
        async with open_store(url) as store:
            lost: list[str] = []

            async def lead(key: str) -> None:
                try:
                    async with Candidate(store, key, "node-1", ttl=30).leading():
                        elected.release()
                        await asyncio.sleep(60)
                except LeadershipLost:
                    lost.append(key)

            elected = threading.Semaphore(0)
            keys = [f"job/{index}" for index in range(number)]
            begun = time.monotonic()
            tasks = [asyncio.create_task(lead(key)) for key in keys]
            while elected._value < number:
                await asyncio.sleep(0.01)
                assert time.monotonic() - begun < at_most(15)
            threads = threading.active_count() - before
            assert threads <= 16
            await asyncio.gather(*(store.delete(key) for key in keys[:50]))
            await asyncio.wait(tasks[:50])
            assert sorted(lost) == sorted(keys[:50])
            for task in tasks[50:]:
                task.cancel()
            await asyncio.wait(tasks)
            assert time.monotonic() - begun < at_most(20)
            assert await asyncio.gather(*(store.leader(key) for key in keys)) == [None] * number

    run(main())


def test_waiting_does_not_poll(url: str) -> None:
    """An idle leader, a waiting lock, iterators, a watch and a block leave the loop asleep."""

    async def main() -> None:
        async with open_store(url) as store, Candidate(store, KEY, "node-1") as candidate:
            await candidate.wait_elected(5)

            async def work() -> None:
                async with candidate.working():
                    await asyncio.sleep(60)

            async def acquire() -> None:
                await store.lock(KEY).acquire()

            async def read(things: AsyncIterator[object]) -> None:
                async for _ in things:
                    pass

            iterators: list[AsyncIterator[object]] = [
                candidate.events(),
                candidate.run_for_election(),
                Follower(store, KEY).events(),
                store.watch("key"),
            ]
            waits = [work(), acquire(), *map(read, iterators)]
            tasks = [asyncio.create_task(wait) for wait in waits]
            await asyncio.sleep(0.5)  # all of them wait
            loop.passes = 0
            await asyncio.sleep(1)
            assert loop.passes <= 5
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    loop = _CountingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


class _CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often it has woken."""

    passes = 0

    def _run_once(self) -> None:
        self.passes += 1
        super()._run_once()  # type: ignore[misc]  # the loop's own step


def test_notification_reaches_a_loop_that_sleeps(
    run: Run, url: str, operator: BlockingStore
) -> None:
    """A loop that has nothing else to do is woken by the loss, long before the time limit of its wait."""

    async def main() -> None:
        async with open_store(url) as store:
            candidate = Candidate(store, KEY, "node-1", ttl=60)
            candidate.start()
            while not candidate.is_leader:
                await asyncio.sleep(0.01)
            term = candidate.term
            assert term is not None
            timer = threading.Timer(0.2, operator.delete, (KEY,))
            timer.start()
            begun = time.monotonic()
            await term.wait_lost(12)
            assert time.monotonic() - begun < 8
            timer.join()

    run(main())
