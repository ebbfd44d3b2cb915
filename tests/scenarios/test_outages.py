"""The server is away for a while: belief ends in time, and comes back with nothing restarted."""

from __future__ import annotations

import time

import pytest

from tests.scenarios.conftest import FleetFactory, OwnServer, Report
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet, Reign, Worker, await_true
from tests.scenarios.places import on_servers

_MARGIN = 0.5  # seconds, the least that is in force by default


@on_servers
def test_short_and_long_outages(
    make_fleet: FleetFactory, kind: str, own_server: OwnServer, measured: Report
) -> None:
    """A restart costs no change of leadership, or an honest one; what is long ends belief in time."""
    # All at a time, each with a server of its own, because most of it is waiting.
    crashed, frozen, restarted = own_server(), own_server(), own_server()
    long = [make_fleet(crashed.url, ttl=3.0), make_fleet(frozen.url, ttl=3.0)]
    short = make_fleet(restarted.url, ttl=3.0)
    *before, undisturbed = _led([*long, short])

    away = now()
    crashed.kill()
    frozen.pause()
    restarted.stop()
    time.sleep(0.3)
    restarted.start()
    measured("the restarted server was away for", (now() - away) / 1e9)
    time.sleep(max(0.0, 8.0 - (now() - away) / 1e9))
    for reign, fleet in zip(before, long, strict=True):
        _assert_over_in_time(reign, away, fleet.ttl)
    crashed.start()
    frozen.resume()

    after = short.await_reign(2 * short.ttl + 5)
    await_true("the store is up again", lambda: _is_up(after.worker), 15)
    print("the same term" if after.token == undisturbed.token else "another term")
    short.finish()
    _await_return(long, before, measured)


@pytest.mark.soak
@pytest.mark.timeout(300)
@on_servers
def test_outages_as_they_are_in_life(
    make_fleet: FleetFactory, kind: str, request: pytest.FixtureRequest, measured: Report
) -> None:
    """With a ttl of 15 s: 5 s are ridden out, 40 s end belief in time."""
    start = request.getfixturevalue(f"{kind}_server")
    options = {"max_session": 60.0} if kind == "zookeeper" else {}
    crashed, frozen = start(**options), start(**options)
    fleets = [make_fleet(crashed.url, ttl=15.0), make_fleet(frozen.url, ttl=15.0)]
    before = _led(fleets)

    crashed.stop()
    frozen.pause()
    time.sleep(5.0)
    crashed.start()
    frozen.resume()
    time.sleep(20.0)
    now_led = [fleet.await_reign(1) for fleet in fleets]
    assert [reign.token for reign in now_led] == [reign.token for reign in before]

    away = now()
    crashed.kill()
    frozen.pause()
    time.sleep(40.0)
    for reign, fleet in zip(now_led, fleets, strict=True):
        _assert_over_in_time(reign, away, fleet.ttl)
    crashed.start()
    frozen.resume()

    _await_return(fleets, now_led, measured)


def _is_up(worker: Worker) -> bool:
    # It may have been away for so short a time that nobody has noticed.
    return worker.count("store_down") == worker.count("store_up")


def _led(fleets: list[Fleet]) -> list[Reign]:
    for fleet in fleets:
        fleet.start_all("ann", "ben")
    return [fleet.await_reign(10) for fleet in fleets]


def _assert_over_in_time(reign: Reign, away: int, ttl: float) -> None:
    belief = reign.worker.diary.read().beliefs[-1]
    assert belief.token == reign.token
    assert not belief.open
    lasted = (belief.until - away) / 1e9
    assert lasted < ttl - _MARGIN + 0.1
    assert reign.worker.await_event("lost", 1).reason == "expired"


def _await_return(fleets: list[Fleet], before: list[Reign], measured: Report) -> None:
    back = now()
    for what, fleet, reign in zip(["a crash", "a freeze"], fleets, before, strict=True):
        after = fleet.await_reign(2 * fleet.ttl + 5, after=reign)
        measured(f"a leader is back after {what} of the server", (after.since - back) / 1e9)
    for fleet in fleets:
        fleet.finish()
