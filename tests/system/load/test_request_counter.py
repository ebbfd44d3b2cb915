"""The counter of requests: real traffic of redis-py and psycopg, in pieces of any size."""

from __future__ import annotations

import random

import psycopg
import pytest
import redis

from tests.support.servers.postgres import DATABASE, PASSWORD, USER, PostgresServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.request_counter import RequestCounter
from tests.system.load.meter import Meter

_REQUESTS = 7


def test_commands_of_redis_are_counted(shared_redis: RedisServer) -> None:
    """Commands of several words, one of which looks like a command, and several in one piece."""
    with (
        Meter(shared_redis.port) as meter,
        redis.Redis(host=meter.address, port=meter.port) as client,
    ):
        client.ping()
        before = meter.asked
        client.set("counted", "*3\r\n$3\r\nGET\r\n" * 100)
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(_REQUESTS - 2):
                pipeline.get("counted")
            pipeline.execute()
        client.delete("counted")
        assert meter.asked - before == _REQUESTS


def test_queries_of_postgres_are_counted(shared_postgres: PostgresServer) -> None:
    """Simple and extended ones count; what opens the connection does not."""
    with (
        Meter(shared_postgres.port) as meter,
        psycopg.connect(
            host=meter.address,
            port=meter.port,
            user=USER,
            password=PASSWORD,
            dbname=DATABASE,
            autocommit=True,
            prepare_threshold=None,  # or the sixth query is prepared, which is a request more
        ) as link,
    ):
        assert meter.asked == 0
        for number in range(_REQUESTS - 1):
            link.execute("SELECT %s::int", [number])
        link.execute("SELECT 1")
        assert meter.asked == _REQUESTS


@pytest.mark.parametrize("seed", range(5))
def test_pieces_of_any_size_count_the_same(seed: int) -> None:
    """A request that comes in several pieces is counted once."""
    command = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n*1\r\nv\r\n"
    rng, counter, rest, count = random.Random(seed), RequestCounter(), command * 20, 0
    while rest:
        size = rng.randint(1, 40)
        count += counter.count(rest[:size])
        rest = rest[size:]
    assert count == 20
