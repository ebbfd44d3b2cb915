"""An operator takes a leader's claim away: it says so at once, and there is a new election."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from leadership_core import open_store
from tests.scenarios.conftest import FleetFactory, Place, Report
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet
from tests.servers.consul import Consul

_NOTIFICATION = 0.5  # seconds; it takes a few milliseconds on a machine that is not busy


def test_operators_of_consul(
    make_fleet: FleetFactory, on_consul: Place, consul: Consul, measured: Report
) -> None:
    """Deleting the key, destroying the session, and writing over the key with Consul's own tools."""
    fleet = make_fleet(on_consul)
    key = fleet.key
    fleet.start_all("ann", "ben")

    def destroy_session() -> None:
        (entry,) = consul.request("GET", f"/v1/kv/{key}").body
        assert consul.request("PUT", f"/v1/session/destroy/{entry['Session']}").status == 200

    # Twice each: it may hit one that has led before.
    for _ in range(2):
        _take_away(fleet, measured, "deleted", lambda: consul.cli("kv", "delete", key))
        _take_away(fleet, measured, "session_lost", destroy_session)
        _take_away(fleet, measured, "overwritten", lambda: consul.cli("kv", "put", key, "mine"))
    fleet.finish(gap=_NOTIFICATION)


def test_an_operator_who_does_not_stop(
    make_fleet: FleetFactory, on_consul: Place, consul: Consul
) -> None:
    """Whatever moment of an election it hits, it stops nobody from leading afterwards."""
    fleet = make_fleet(on_consul)
    fleet.start_all("ann", "ben")
    fleet.await_reign(10)
    rng = random.Random(5)
    until = time.monotonic() + 3.0
    while time.monotonic() < until:
        # Without a body, a PUT writes an empty value.
        consul.request(rng.choice(["PUT", "PUT", "DELETE"]), f"/v1/kv/{fleet.key}")
        time.sleep(rng.choice([0.0, 0.001, 0.005, 0.02]))
    last = max(belief.token for worker in fleet.workers for belief in worker.diary.read().beliefs)
    fleet.await_reign(on_consul.ttl + 2, after=last - 1)
    fleet.finish(gap=_NOTIFICATION)


def test_operators_of_sqlite(make_fleet: FleetFactory, on_sqlite: Place, measured: Report) -> None:
    """Deleting the key and writing over it, from another process."""
    fleet = make_fleet(on_sqlite)
    fleet.start_all("ann", "ben")
    with open_store(on_sqlite.url) as store:
        for _ in range(2):
            _take_away(fleet, measured, "deleted", lambda: store.delete(fleet.key))
            _take_away(fleet, measured, "overwritten", lambda: store.put(fleet.key, b"mine"))
    fleet.finish(gap=_NOTIFICATION)


def _take_away(fleet: Fleet, measured: Report, reason: str, operate: Callable[[], object]) -> None:
    before = fleet.await_reign(10)
    losses = before.worker.count("lost")
    operate()
    done = now()
    lost = before.worker.await_event("lost", 5, after=losses)
    after = fleet.await_reign(10, after=before)

    # A session that is gone may be found out by its key being free, or by the next renewal. What
    # was written by hand may be gone, and a rival's claim there, when the leader looks.
    told = {"session_lost": {"session_lost", "deleted"}, "overwritten": {"overwritten", "deleted"}}
    assert lost.reason in told.get(reason, {reason})
    assert (lost.at - done) / 1e9 < _NOTIFICATION
    measured(f"{reason}: from the operator's answer to lost", (lost.at - done) / 1e9)
    measured(f"{reason}: from the operator's answer to the next leader", (after.since - done) / 1e9)
