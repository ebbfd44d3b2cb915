"""A load balancer that closes every connection after a second without traffic."""

from __future__ import annotations

import asyncio

import pytest

from leadership_core import Candidate, Follower, open_store
from tests.support.backends import Running
from tests.support.servers.proxy import Proxy, Way
from tests.support.waiting import eventually

_IDLE = 1.0  # seconds
_TTL = 10.0  # seconds; the least that every Consul accepts


class _Balancer(Proxy):
    """Closes both ends of a connection after a second without traffic in either direction.

    Attributes:
        closed: how often it has done so.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port, side_of=str)  # so the side names the connection
        self.closed = 0
        self._active: dict[str, float] = {}

    async def _pump(
        self, reader: asyncio.StreamReader, recorder: asyncio.StreamWriter, side: str, way: Way
    ) -> None:
        clock = asyncio.get_running_loop().time
        self._active[side] = clock()
        try:
            while (left := self._active[side] + _IDLE - clock()) > 0:
                try:
                    data = await asyncio.wait_for(reader.read(65536), left)
                except TimeoutError:
                    continue
                if not data:
                    break
                self._active[side] = clock()
                recorder.write(data)
                await recorder.drain()
            else:
                self.closed += way == "up"
        except OSError:
            pass  # one end broke the connection: so does the other
        recorder.close()


@pytest.mark.server
@pytest.mark.parametrize("kind", ["consul", "etcd", "zookeeper"])
def test_load_balancer_cutting_idle_connections_ends_no_term(
    kind: str, shared: Running, unique_key: str
) -> None:
    """The leader keeps its term, and a follower still reports the next one."""
    with (
        _Balancer(int(getattr(shared, "port"))) as balancer,  # noqa: B009  # all three have one
        open_store(shared.url_at(balancer.port)) as far,
        open_store(shared.url) as near,
    ):
        leader = Candidate(far, unique_key, "far", ttl=_TTL)
        term = leader.wait_elected(10)
        assert term is not None
        follower = Follower(far, unique_key)
        assert str(follower.wait_leader(5)) == "far"
        waiting = Candidate(near, unique_key, "near", ttl=_TTL)
        assert waiting.wait_elected(0) is None

        assert eventually(lambda: balancer.closed >= 3, 12), "too few idle connections"
        assert not term.lost
        assert leader.resign(30)
        assert waiting.wait_elected(10)
        assert eventually(lambda: str(follower.leader) == "near", 10), follower.leader
