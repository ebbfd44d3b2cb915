"""Faults by an operator of Kubernetes: a Lease is deleted or edited, as `kubectl` does it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leadership_kubernetes.names import name_of
from tests.support.admin_tools import admin_of
from tests.support.recording import now
from tests.support.testbed import Testbed
from tests.system.catalogue import scenario

pytestmark = pytest.mark.slow

_KIND = ["kubernetes"]
_NOTIFICATION = 0.5  # seconds; it takes a few milliseconds on a machine that is not busy


@scenario(19, on=_KIND, quick=_KIND)
def test_19_lease_of_the_leader_taken_away(testbed: Testbed) -> None:
    """The leader is notified at once; the next one leads at once, or when a holder by hand was silent."""
    testbed.gap = _NOTIFICATION
    admin = admin_of(testbed.server)
    testbed.candidate("first")
    testbed.await_leader(15)
    testbed.candidate("second")
    actions: dict[str, Callable[[], None]] = {
        "the Lease is deleted": lambda: admin.delete(testbed.key),
        "its holder is emptied": lambda: admin.end_session(testbed.key),
        "another holder is written": lambda: admin.overwrite(testbed.key, "mine"),
    }
    # Twice each: it may hit a candidate that has led before.
    for what, act in [*actions.items()] * 2:
        leader = testbed.await_leader()
        losses = leader.worker.count("lost")
        with testbed.fault(what):
            act()
        done = now()
        lost = leader.worker.await_event("lost", 5, after=losses)
        assert lost.reason in {"deleted", "overwritten", "session_lost"}
        assert (lost.at - done) / 1e9 < _NOTIFICATION
        testbed.await_leader(after=leader)
    testbed.finish()


@scenario(19, on=_KIND)
def test_19_lease_of_the_leader_edited(testbed: Testbed) -> None:
    """Labels, and times that are an hour away, end no term, and elect no other candidate early or late."""
    server = testbed.server
    name = name_of(testbed.key)
    testbed.candidate("first")
    leader = testbed.await_leader(15)
    testbed.candidate("second")
    for hours in (1, -1):
        for change in (_times(hours), {"metadata": {"labels": {"team": f"x{hours}"}}}):
            with testbed.fault(f"{change}"):
                server.change_lease(name, change)
                testbed.sleep(0.4)
                server.change_lease(name, change)
                testbed.sleep(1.2)
                assert testbed.await_leader() == leader
    assert leader.worker.count("lost") == 0

    for hours in (1, -1):
        leader = testbed.await_leader()
        killed = testbed.mark("SIGKILL the leader, whose Lease has a time that is an hour away")
        leader.worker.process.kill()
        server.change_lease(name, _times(hours))
        testbed.candidate(f"third-{hours}")
        after = testbed.await_leader(after=leader)
        assert (after.since - killed) / 1e9 > testbed.ttl, "it was believed by its time"
    testbed.finish()


def _times(hours: int) -> dict[str, Any]:
    at = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"spec": {"renewTime": at, "acquireTime": at}}
