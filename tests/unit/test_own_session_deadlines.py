"""Deadlines of the sessions that no server ends, as their holders count them: from the sending of a renewal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leadership_core.backend import Session, SessionLost, clock
from leadership_kubernetes.session import KubernetesSession
from leadership_postgres.session import PostgresSession
from leadership_redis.session import RedisSession
from tests.unit.manual_clock import ManualClock

_TTL = 10.0
_DELAY = 4.0  # seconds that each request takes, when it is slow


class _Server:
    """The client of a store whose requests take some time, and are answered with success.

    Attributes:
        delay: seconds that each request takes.
        renewals: the requests that have renewed a session.
    """

    def __init__(self, time: ManualClock) -> None:
        self._time = time
        self.delay, self.renewals = 0.0, 0

    def _take_time(self, *, renewal: bool) -> None:
        self._time.time += self.delay
        self.renewals += renewal

    def ask(self, name: str) -> None:  # of Kubernetes: a session without claims reads a Lease
        self._take_time(renewal=True)

    def open_session(self, session: str, ttl: float, beat: str) -> None:  # of PostgreSQL
        self._take_time(renewal=False)

    def renew_session(self, session: str, expected: object, beat: str) -> str:
        self._take_time(renewal=True)
        return "renewed"

    def end_session(self, session: str, beat: str | None) -> bool:
        return True

    def call(self, request: str, *arguments: object) -> list[bytes]:  # of Redis
        self._take_time(renewal=request == "renew")
        return [b"ok"]


def _redis(client: Any, ttl: float) -> Session:
    session = RedisSession(client, ttl)
    session.begin()
    return session


_OPEN: dict[str, Callable[[Any, float], Session]] = {
    "kubernetes": KubernetesSession.open,
    "postgres": PostgresSession.open,
    "redis": _redis,
}


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    manual = ManualClock()
    monkeypatch.setattr(clock, "now", manual)
    return manual


@pytest.mark.parametrize("kind", _OPEN)
def test_ttl_counts_from_the_sending_of_the_last_renewal(kind: str, time: ManualClock) -> None:
    """Others may count from any moment after that, and take over before the ttl has passed since the answer."""
    server = _Server(time)
    session = _OPEN[kind](server, _TTL)
    server.delay = _DELAY
    session.renew()
    server.delay, time.time = 0.0, time.time - _DELAY + _TTL + 0.1

    with pytest.raises(SessionLost):
        session.renew()


@pytest.mark.parametrize("kind", _OPEN)
def test_ttl_of_a_new_session_counts_from_the_sending_of_its_first_request(
    kind: str, time: ManualClock
) -> None:
    """Its record may have been written, and read by others, long before the answer."""
    server = _Server(time)
    server.delay = _DELAY
    session = _OPEN[kind](server, _TTL)
    server.delay, time.time = 0.0, time.time - _DELAY + _TTL + 0.1

    with pytest.raises(SessionLost):
        session.renew()


@pytest.mark.parametrize("kind", _OPEN)
def test_session_that_was_not_renewed_for_its_ttl_is_never_renewed_again(
    kind: str, time: ManualClock
) -> None:
    """It may be alive at the server, where no request has read it yet; its holder has stopped leading."""
    server = _Server(time)
    session = _OPEN[kind](server, _TTL)
    session.renew()
    time.time += _TTL + 0.1
    before = server.renewals

    for _ in range(2):
        with pytest.raises(SessionLost):
            session.renew()

    assert server.renewals == before
