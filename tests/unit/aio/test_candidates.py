"""Candidates and followers in asyncio: terms, iterators, callbacks, gates, and leaving."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import leadership_core
from leadership_core import (
    ConfigurationError,
    Leader,
    LeaderChanged,
    LeadershipLost,
    Lost,
    LostReason,
    NotElected,
    Resigned,
    Stopped,
    Store as BlockingStore,
    StoreUnavailable,
)
from leadership_core.aio import Candidate, Elected, Follower, Store, Term, open_store
from tests.support.waiting import at_most
from tests.unit.aio.conftest import Run
from tests.unit.faulty import Fault, FaultyStore

KEY = "service/api"


def test_events_carry_terms_that_are_awaited(run: Run, url: str, operator: BlockingStore) -> None:
    """`Elected` is that of asyncio and of the core, and its term is the one that the candidate has."""

    async def main() -> None:
        async with open_store(url) as store, Candidate(store, KEY, "node-1", ttl=3) as candidate:
            names = []
            async for event in candidate.events():
                names.append(event.name)
                match event:
                    case leadership_core.Elected(term):
                        assert isinstance(event, Elected)
                        assert isinstance(term, Term)
                        assert term == candidate.term
                        assert {term: 1}[candidate.term] == 1
                        await event.term.ensure(1)
                        operator.delete(KEY)
                        assert await event.term.wait_lost(at_most(5))
                    case Lost(reason):
                        assert reason == LostReason.DELETED
                        break
            assert names == ["campaigning", "elected", "lost"]

    run(main())


class UnusualError(BaseException):
    """An exception that `except Exception` does not catch."""


def test_callbacks_run_in_the_loop_in_order(
    run: Run, url: str, operator: BlockingStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Coroutine functions are awaited one after the other; what they raise is logged and changes nothing."""

    async def main() -> None:
        here, calls = threading.get_ident(), []

        async def on_elected(term: Term) -> None:
            assert threading.get_ident() == here
            assert asyncio.current_task() is not None
            calls.append("elected")
            await asyncio.sleep(0.05)
            calls.append("elected ends")
            raise KeyError("mistake")

        def on_lost(event: Lost | Resigned) -> None:
            assert threading.get_ident() == here
            calls.append(event.name)
            raise UnusualError

        async with open_store(url) as store:
            candidate = Candidate(store, KEY, "a", ttl=3, on_elected=on_elected, on_lost=on_lost)
            leaders: list[Leader | None] = []
            async with candidate, Follower(store, KEY, on_leader=leaders.append) as follower:
                events: list[str] = []
                candidate.add_listener(lambda event: events.append(event.name))
                follower.add_listener(lambda event: events.append(event.name))
                await candidate.wait_elected(5)
                operator.delete(KEY)
                async for elected in candidate.run_for_election():
                    if not elected:
                        break
                await candidate.wait_elected(5)
                while (leader := await follower.wait_leader(5)) is None or leader.token < 3:
                    await asyncio.sleep(0.01)
            assert calls == [
                "elected",
                "elected ends",
                "lost",
                "elected",
                "elected ends",
                "resigned",
            ]
            assert [None if one is None else one.value for one in leaders][-1] == "a"
            assert {
                "campaigning",
                "elected",
                "lost",
                "resigned",
                "stopped",
                "leader_changed",
            } <= set(events)

    run(main())
    failed = [one for one in caplog.records if "callback.failed" in one.getMessage()]
    assert len(failed) == 4


def test_lead_works_for_each_term_until_it_is_stopped(
    run: Run, url: str, operator: BlockingStore
) -> None:
    """Work is cancelled by a loss and called again for the next term; when it returns, it resigns."""

    async def main() -> None:
        async with open_store(url) as store:
            candidate = Candidate(store, KEY, "node-1", ttl=3)
            terms: list[str] = []

            async def work(term: Term) -> None:
                if len(terms) == 0:
                    operator.delete(KEY)
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        terms.append("cancelled")
                        raise
                if len(terms) == 1:
                    terms.append("returned")
                    return
                terms.append("stops")
                assert not await candidate.stop()
                assert term.lost
                await asyncio.sleep(0.05)
                terms.append("goes on")

            await candidate.lead(work, cooldown=0)
            assert terms == ["cancelled", "returned", "stops", "goes on"]
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await candidate.stop()
            assert await store.leader(KEY) is None

    run(main())


def test_lead_raises_what_its_work_raises_and_stops(run: Run, url: str) -> None:
    """An error of the work ends the candidate; so does a function that makes no coroutine."""

    async def main() -> None:
        async with open_store(url) as store:

            async def fail(term: Term) -> None:
                raise KeyError("mistake")

            candidate = Candidate(store, KEY, "node-1")
            with pytest.raises(KeyError, match="mistake"):
                await candidate.lead(fail)
            assert await store.leader(KEY) is None
            with pytest.raises(ConfigurationError, match="stopped"):
                candidate.start()
            with pytest.raises(ConfigurationError, match="coroutine function"):
                await Candidate(store, KEY, "node-2").lead(lambda term: None)  # type: ignore[arg-type, return-value]

    run(main())


def test_lead_that_is_cancelled_stops(run: Run, url: str) -> None:
    """Cancelled in its work and while it waits, it leaves the election before it ends."""

    async def main() -> None:
        async with open_store(url) as store:
            working = asyncio.Event()

            async def work(term: Term) -> None:
                working.set()
                await asyncio.sleep(60)

            first = asyncio.create_task(Candidate(store, KEY, "a").lead(work))
            await working.wait()
            second = asyncio.create_task(Candidate(store, KEY, "b").lead(work))
            await asyncio.sleep(0.05)
            for task in (second, first):
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
            assert await store.leader(KEY) is None

    run(main())


def test_body_that_resigns_goes_on_and_raises_nothing(run: Run, url: str) -> None:
    """`resign`, `stop` and `close` in a body of `leading` wait for the release, and do not cancel it."""

    async def main() -> None:
        for end in ("resign", "stop", "close"):
            async with open_store(url) as store:
                candidate = Candidate(store, KEY, "node-1")
                async with candidate.leading(5) as term:
                    if end == "resign":
                        assert await candidate.resign()
                    elif end == "stop":
                        assert await candidate.stop()
                    else:
                        assert await store.close()
                    assert term.lost
                    await asyncio.sleep(0.05)

    run(main())


def test_only_leader_runs_coroutines_for_a_term(
    run: Run, url: str, operator: BlockingStore
) -> None:
    """Calls raise `NotElected` or return the other value; a loss cancels them."""

    async def main() -> None:
        async with open_store(url) as store:
            candidate = Candidate(store, KEY, "node-1", ttl=3)

            @candidate.only_leader
            async def write(value: bytes) -> bytes:
                return (await store.put("state", value)).value

            @candidate.only_leader(otherwise=None)
            async def sleep() -> int:
                operator.delete(KEY)
                await asyncio.sleep(60)
                return 1

            @candidate.only_leader(otherwise="standby")
            def plain() -> str:
                return "leader"

            with pytest.raises(NotElected):
                await write(b"1")
            assert await sleep() is None
            assert plain() == "standby"
            await candidate.wait_elected(5)
            assert await write(b"1") == b"1"
            assert plain() == "leader"
            with pytest.raises(LeadershipLost):
                await sleep()

    run(main())


def test_ready_is_asked_in_the_loop(run: Run, url: str) -> None:
    """A candidate stands while the coroutine function says so, and a blocked loop is not ready."""

    async def main() -> None:
        here, healthy = threading.get_ident(), False

        async def ready() -> bool:
            assert threading.get_ident() == here
            await asyncio.sleep(0)
            return healthy

        async with (
            open_store(url) as store,
            Candidate(store, KEY, "node-1", ttl=1, ready=ready) as candidate,
        ):
            with pytest.raises(NotElected, match="ready"):
                await candidate.wait_elected(0.3)
            healthy = True
            assert await candidate.wait_elected(at_most(10))
            time.sleep(2)
            assert not candidate.is_leader
            assert await candidate.wait_elected(at_most(10))

    run(main())


def test_watchdog_cancels_a_body_that_hangs(run: Run, url: str) -> None:
    """Work that reports nothing loses its term; work that does keeps it."""

    async def main() -> None:
        async with open_store(url) as store:
            async with Candidate(store, KEY, "node-1", watchdog=1).leading(5) as term:
                for _ in range(30):
                    await asyncio.sleep(0.05)
                    term.heartbeat()
            with pytest.raises(LeadershipLost, match="watchdog"):
                async with Candidate(store, KEY, "node-2", watchdog=0.3).leading(5):
                    await asyncio.sleep(60)

    run(main())


def test_store_that_is_down_is_the_cause(run: Run) -> None:
    """`wait_elected`, `leading`, locks and followers say that the store does not answer."""

    async def main() -> None:
        faulty = FaultyStore()
        with faulty.opened() as blocking:
            store = Store(blocking)
            faulty.inject(Fault.UNAVAILABLE)
            candidate = Candidate(store, KEY, "node-1", ttl=3)
            with pytest.raises(NotElected) as caught:
                await candidate.wait_elected(0.2)
            assert isinstance(caught.value.__cause__, StoreUnavailable)
            with pytest.raises(NotElected):
                async with candidate.leading(0.1):
                    pytest.fail("the store is down")
            with pytest.raises(NotElected):
                await store.lock("lock", ttl=3).acquire(0.1)
            with pytest.raises(StoreUnavailable):
                await Follower(store, KEY).wait_leader(0.1)
            faulty.heal()
            await store.close()

    run(main())


def test_cut_off_leader_is_cancelled_at_the_end_of_its_lease(run: Run) -> None:
    """Without answers of the store the body is cancelled in time, while the loop is idle."""

    async def main() -> None:
        faulty = FaultyStore()
        with faulty.opened() as blocking:
            store = Store(blocking)
            candidate = Candidate(store, KEY, "node-1", ttl=1)
            with pytest.raises(LeadershipLost, match="expired"):
                async with candidate.leading(5) as term:
                    faulty.inject(Fault.REQUEST_LOST)
                    begun = time.monotonic()
                    try:
                        await asyncio.sleep(60)
                    finally:
                        assert term.lost
                        assert time.monotonic() - begun < at_most(1.5)
                        faulty.heal()
            await store.close()

    run(main())


def test_followers_iterate_over_leaders(run: Run, url: str) -> None:
    """A follower sees the leader, no leader, and the end."""

    async def main() -> None:
        async with open_store(url) as store:
            follower = Follower(store, KEY)
            leaders = follower.follow_election()
            assert await anext(leaders) is None
            async with Candidate(store, KEY, "node-1") as candidate:
                await candidate.wait_elected(5)
                leader = await anext(leaders)
                assert leader is not None
                assert (leader.value, leader == follower.leader) == ("node-1", True)
            assert await anext(leaders) is None
            events = follower.events()
            assert isinstance(await anext(events), LeaderChanged)
            await follower.stop()
            assert [event async for event in events] == [Stopped()]
            assert [one async for one in leaders] == []

    run(main())


def test_arguments_are_checked_as_for_threads(run: Run, url: str) -> None:
    """Wrong stores, callbacks and timeouts are refused before anything is sent."""

    async def main() -> None:
        async with open_store(url) as store:
            with pytest.raises(ConfigurationError, match=r"leadership_core\.aio\.open_store"):
                Candidate(store.blocking, KEY, "a")  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match=r"leadership_core\.aio\.open_store"):
                Follower(store.blocking, KEY)  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match="on_elected"):
                Candidate(store, KEY, "a", on_elected=lambda: None)  # type: ignore[arg-type, misc]
            with pytest.raises(ConfigurationError, match="timeout"):
                await Candidate(store, KEY, "a").wait_elected(-1)
            with pytest.raises(ConfigurationError, match="timeout"):
                Candidate(store, KEY, "a").leading(-1)
            with pytest.raises(ConfigurationError, match="cooldown"):
                await Candidate(store, KEY, "a").resign(-1)

    run(main())
