"""Programs on asyncio whose link to a real server is cut."""

from __future__ import annotations

import asyncio
import time

import pytest

from leadership_core import LeadershipLost
from leadership_core.aio import Candidate, Elected, open_store
from tests.conftest import ProxyFactory
from tests.support.backends import on_servers
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import at_most
from tests.system.conftest import TargetStore


@pytest.mark.filterwarnings("error")
@on_servers
def test_cut_off_body_is_cancelled_before_the_next_leader(
    target: TargetStore,
    shared: Consul | Etcd | ZooKeeper,
    proxy: ProxyFactory,
    unique_key: str,
) -> None:
    """The body ends before the other candidate is elected; the block raises `LeadershipLost`."""
    link = proxy(shared.port)
    ended: list[float] = []

    async def work(far: Candidate, entered: asyncio.Event) -> None:
        async with far.leading(20) as term:
            await term.ensure(target.ttl / 3)
            entered.set()
            try:
                await asyncio.sleep(3600)
            finally:
                assert not far.is_leader
                ended.append(time.monotonic())

    async def main() -> None:
        async with (
            open_store(shared.url) as near_store,
            open_store(shared.url_at(link.port)) as far_store,
        ):
            far = Candidate(far_store, unique_key, "far", ttl=target.ttl)
            entered = asyncio.Event()
            task = asyncio.create_task(work(far, entered))
            await entered.wait()
            near = Candidate(near_store, unique_key, "near", ttl=target.ttl)
            events = near.events()
            await near_store.get(unique_key)
            link.cut()
            async with asyncio.timeout(at_most(6 * target.ttl)):
                async for event in events:
                    if isinstance(event, Elected):
                        break
                elected = time.monotonic()
                await asyncio.wait([task])
            assert isinstance(task.exception(), LeadershipLost)
            assert ended[0] < elected
            await near.stop()

    asyncio.run(main(), debug=True)
