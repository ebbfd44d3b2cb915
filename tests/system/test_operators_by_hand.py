"""Faults by an operator who changes the tables of PostgreSQL or the keys of Redis by hand.

No notification says so, as it does for what is changed by the functions and the script of the store. A leader
notices at its next renewal that its session is gone, and at the next read of everything that its claim is.
"""

from __future__ import annotations

import pytest

from leadership_core.testing import check_history
from tests.support.admin_tools import admin_of
from tests.support.recording import now
from tests.support.testbed import Testbed
from tests.support.waiting import at_most
from tests.support.workers import LeaderTerm
from tests.system.catalogue import scenario

pytestmark = pytest.mark.slow

_KINDS = ("postgres", "redis")
_NOTIFICATION = 0.5  # seconds; it takes a few milliseconds on a machine that is not busy
_TTL = 5.0  # seconds; with the usual 2 s a leader on a crowded machine may lose its lease at that moment
_READ_AGAIN = 20.0  # seconds between two reads of everything that is watched


class _ByHand:
    """An operator with psql or redis-cli, on a server of the scenario's own."""

    def __init__(self, testbed: Testbed) -> None:
        self._server = testbed.own_server()
        self._sql, self._claim = testbed.kind == "postgres", f"{testbed.key}/.claim"

    def delete_claim(self) -> None:
        if self._sql:
            self._server.ask("DELETE FROM leadership.entry WHERE key = %s", self._claim)
        else:
            assert self._server.ask(f"HDEL {{leadership}}:entries {self._claim}").startswith(":1")

    def overwrite_claim(self) -> None:
        if self._sql:
            self._server.ask(
                "UPDATE leadership.entry SET value = 'mine' WHERE key = %s", self._claim
            )
        else:
            self._server.ask(f"HSET {{leadership}}:entries {self._claim} mine")

    def delete_session(self, session: object) -> None:
        if self._sql:
            self._server.ask("DELETE FROM leadership.session WHERE id = %s", session)
        else:
            assert self._server.ask(f"HDEL {{leadership}}:sessions {session}").startswith(":1")

    def delete_all(self) -> None:
        if self._sql:
            self._server.ask("TRUNCATE leadership.entry, leadership.session")
        else:
            self._server.ask("FLUSHALL")


def _assert_led_alone(testbed: Testbed) -> None:
    """Check that two led at a time only until the older one got the notification of the new claim."""
    faults = check_history(testbed.run().history, gap=at_most(2 * _NOTIFICATION))
    assert not faults, "\n".join(faults)


def _await_loss(leader: LeaderTerm, losses: int, since: int, seconds: float) -> str | None:
    lost = leader.worker.await_event("lost", seconds + 5, after=losses)
    assert (lost.at - since) / 1e9 < at_most(seconds)
    return lost.reason


def _noticed(reasons: set[str | None]) -> set[str | None]:
    """The reasons but for the end of the lease, of which there is one at least.

    On a machine that starves the leader for its whole ttl, the lease may end first. Not each time.
    """
    noticed = reasons - {"expired"}
    assert noticed, reasons
    return noticed


@scenario(19, on=_KINDS, quick=_KINDS)
def test_19_session_or_all_deleted_by_hand(testbed: Testbed) -> None:
    """The leader notices it at its next renewal, and a new term has a larger token."""
    testbed.ttl = _TTL
    hand, admin = _ByHand(testbed), admin_of(testbed.server)
    testbed.candidate("first")
    testbed.await_leader(15)
    testbed.candidate("second")
    # The store has no claim of the leader until its renewal, a third of the ttl after the last one.
    noticed = testbed.ttl / 3 + _NOTIFICATION
    testbed.gap = at_most(noticed)
    reasons = set[str | None]()
    for what in ["session", "all"] * 2:
        leader = testbed.await_leader()
        losses = leader.worker.count("lost")
        with testbed.fault(f"deleted by hand: {what}"):
            if what == "session":
                hand.delete_session(admin.holder(testbed.key))
            else:
                hand.delete_all()
        reasons.add(_await_loss(leader, losses, now(), noticed))
        testbed.await_leader(after=leader)
    assert _noticed(reasons) <= {"session_lost", "deleted", "overwritten"}
    testbed.finish()
    _assert_led_alone(testbed)


@scenario(19, on=_KINDS, quick=_KINDS, seconds=200)
def test_19_claim_deleted_by_hand_and_another_starts(testbed: Testbed) -> None:
    """There is a new term at once, and its claim is notified to the leader."""
    hand = _ByHand(testbed)
    testbed.ttl = _TTL
    testbed.gap = _READ_AGAIN  # until another candidate starts, there is a leader and no claim
    testbed.candidate("first")
    reasons = set[str | None]()
    for who in ("second", "third", "fourth"):
        leader = testbed.await_leader(15)
        losses = leader.worker.count("lost")
        testbed.sleep(0.1)  # so that its watch has begun
        with testbed.fault("the claim is deleted by hand"):
            hand.delete_claim()
        testbed.candidate(who)
        # It is elected, or the leader once more if that has just read everything.
        newer = testbed.await_leader(2.0, after=leader)
        reasons.add(_await_loss(leader, losses, newer.since, 2 * _NOTIFICATION))
    assert _noticed(reasons) <= {"deleted", "overwritten"}
    testbed.finish()
    _assert_led_alone(testbed)


@scenario(19, on=_KINDS, seconds=200)
def test_19_claim_changed_by_hand(testbed: Testbed) -> None:
    """The leader and a waiting candidate notice it when they read everything again."""
    hand = _ByHand(testbed)
    testbed.gap, testbed.ttl = _READ_AGAIN + 2 * _NOTIFICATION, _TTL
    testbed.candidate("first")
    testbed.await_leader(15)
    testbed.candidate("second")
    reasons = set[str | None]()
    for act, what in [(hand.delete_claim, "deleted"), (hand.overwrite_claim, "overwritten")] * 2:
        leader = testbed.await_leader()
        losses = leader.worker.count("lost")
        with testbed.fault(f"the claim is {what} by hand"):
            act()
        # PostgreSQL looks every 3 s.
        reasons.add(_await_loss(leader, losses, now(), testbed.gap + 3.0))
        testbed.await_leader(after=leader)
    assert _noticed(reasons) <= {"deleted", "overwritten"}
    testbed.finish()
    _assert_led_alone(testbed)
