"""Requests that a process with many elections makes while nothing happens, counted at the server.

Renewals do not grow with the number of elections: a session has one, however many candidates it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from leadership_core import Candidate, open_store
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.redis import RedisServer
from tests.support.waiting import at_most, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.soak]

_TTL = 15.0
_ELECTIONS = 100
_SECONDS = 30.0


@contextmanager
def _led(url: str) -> Iterator[None]:
    """Lead many elections in this process; their claims have been read once when the block begins."""
    with open_store(url) as store, ExitStack() as stack:
        all_of_them = [
            Candidate(store, f"idle/{number}", "node", ttl=_TTL) for number in range(_ELECTIONS)
        ]
        for one in all_of_them:
            one.start()
            stack.callback(one.stop)
        wait_until(lambda: all(one.is_leader for one in all_of_them), at_most(30), "all lead")
        time.sleep(_TTL)
        yield


def _counted(count: Callable[[], int]) -> int:
    before = count()
    time.sleep(_SECONDS)
    return count() - before


def test_postgres_executes_one_renewal_for_all_elections(postgres: PostgresServer) -> None:
    """Beside it there are a check after each 3 s, and a read of everything after each 20 s."""

    def commits() -> int:
        found = postgres.ask("SELECT xact_commit FROM pg_stat_database WHERE datname = 'test'")
        assert isinstance(found[0][0], int)
        return found[0][0]

    with _led(postgres.url):
        assert _counted(commits) <= _SECONDS / 3 + _SECONDS / (0.25 * _TTL) + _SECONDS / 20 + 5


def test_redis_executes_one_renewal_for_all_elections(redis: RedisServer) -> None:
    """Beside it there are an empty request a second, and a read of everything after each 20 s."""

    def calls() -> int:
        (line,) = [
            one
            for one in redis.ask("INFO commandstats").splitlines()
            if one.startswith("cmdstat_evalsha:")
        ]
        return int(line.partition("calls=")[2].partition(",")[0])

    with _led(redis.url):
        assert _counted(calls) <= _SECONDS + _SECONDS / (0.25 * _TTL) + _SECONDS / 20 + 5
