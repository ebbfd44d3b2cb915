"""Faults that an operator makes: what is held is deleted, overwritten, or its session is ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.faults.catalogue import ALL, SERVERS, scenario
from tests.faults.outages import database_of, locked
from tests.faults.stand import Stand
from tests.scenarios.diary import now
from tests.scenarios.fleet import Worker, await_true
from tests.scenarios.offices import Office, office_of

pytestmark = pytest.mark.slow

_NOTIFICATION = 0.5  # seconds; it takes a few milliseconds on a machine that is not busy


class SqliteOffice:
    """An operator of a database, with SQL."""

    def __init__(self, url: str) -> None:
        self._file = database_of(url)

    def holder(self, key: str) -> object:
        found = self._do("SELECT session FROM entries WHERE key = ?", key)
        return found[0][0] if found else None

    def sessions(self) -> set[object]:
        return {session for (session,) in self._do("SELECT id FROM sessions")}

    def end(self, session: object) -> None:
        with locked(self._file) as database:
            database.execute("DELETE FROM sessions WHERE id = ?", (session,))
            database.execute("DELETE FROM entries WHERE session = ?", (session,))

    def end_session(self, key: str) -> None:
        self.end(self.holder(key))

    def delete(self, key: str) -> None:
        self._do("DELETE FROM entries WHERE key = ?", key)

    def overwrite(self, key: str, value: str) -> None:
        self._do("UPDATE entries SET value = ?, session = NULL WHERE key = ?", value.encode(), key)

    def delete_all(self, key: str) -> None:
        self._do("DELETE FROM entries WHERE key >= ? AND key < ?", key, f"{key}0")

    def writes(self) -> int:
        return int(self._do("SELECT revision FROM counter")[0][0])

    def _do(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with locked(self._file) as database:
            return database.execute(statement, values).fetchall()


def office_at(stand: Stand) -> Office:
    """The tools that fit the store."""
    return SqliteOffice(stand.url) if stand.kind == "sqlite" else office_of(stand.server)


# -- 19 -----------------------------------------------------------------------------------------

_REASONS = {
    # A session that is gone may be found out by its key being free, or by the next renewal; what
    # was written by hand may be gone, and a rival's claim there, when the leader looks.
    "delete": {"deleted"},
    "end_session": {"session_lost", "deleted"},
    "overwrite": {"overwritten", "deleted"},
    "delete_all": {"deleted"},
}


@scenario(19, on=ALL, quick=["sqlite", "etcd"])
def test_19_claim_of_the_leader_taken_away(stand: Stand) -> None:
    """It says so within one notification, with the reason, and somebody is elected anew."""
    stand.gap = _NOTIFICATION
    office = office_at(stand)
    stand.candidate("first")
    stand.leader(15)
    stand.candidate("second")
    deeds: dict[str, Callable[[], None]] = {
        "delete": lambda: office.delete(stand.key),
        "end_session": lambda: office.end_session(stand.key),
        "overwrite": lambda: office.overwrite(stand.key, "mine"),
        "delete_all": lambda: office.delete_all(stand.key),
    }
    for what, deed in deeds.items():
        reign = stand.leader()
        losses = reign.worker.count("lost")
        with stand.fault(what):
            deed()
        done = now()
        if what == "overwrite" and stand.kind == "zookeeper":
            stand.sleep(0.2)
            stand.leader()  # a node stays its session's whatever is written to it
            continue
        lost = reign.worker.await_event("lost", 5, after=losses)
        assert lost.reason in _REASONS[what]
        assert (lost.at - done) / 1e9 < _NOTIFICATION
        stand.leader(after=reign)
    stand.finish()


@scenario(19, on=ALL)
def test_19_operator_who_does_not_stop(stand: Stand) -> None:
    """Whatever moment of an election it hits, somebody leads when it is over."""
    # Consul is asked a few times a second at most, whatever happens: then the news is late.
    stand.gap = stand.ttl if stand.kind == "consul" else _NOTIFICATION
    office = office_at(stand)
    for who in ("first", "second", "third"):
        stand.candidate(who)
    stand.leader()
    deeds = [office.delete, office.end_session, office.delete_all]

    with stand.fault("an operator deletes whatever there is, for five seconds"):
        until = time.monotonic() + 5.0
        number = 0
        while time.monotonic() < until:
            number += 1
            with _nobody_there():
                deeds[number % 3](stand.key)
            time.sleep([0.0, 0.001, 0.005, 0.02, 0.3][number % 5])

    stand.leader()
    stand.finish()


@scenario(19, on=["sqlite"], quick=["sqlite"])
def test_19_rows_deleted_by_sqlite3(stand: Stand) -> None:
    """All of them, in one statement each, while one leads and others wait."""
    stand.gap = _NOTIFICATION
    for who in ("first", "second", "third"):
        stand.candidate(who)
    for table in ("entries", "sessions", "entries", "sessions"):
        reign = stand.leader()
        with stand.fault(f"DELETE FROM {table}"), locked(database_of(stand.url)) as database:
            database.execute(f"DELETE FROM {table}")
        reign.worker.await_event("lost", 5)
    stand.leader()
    stand.finish()


@contextmanager
def _nobody_there() -> Iterator[None]:
    """Let an operator find nothing to delete, or be too late."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - each tool says it in its own words
        print("the operator was too late:", error)


# -- 20 -----------------------------------------------------------------------------------------


@scenario(20, on=ALL, quick=["zookeeper"])
def test_20_session_of_one_who_waits_ended(stand: Stand) -> None:
    """The leader resigns at once: who waited leads by a session that is alive, or another one."""
    office = office_at(stand)
    stand.candidate("first")
    reign = stand.leader(15)
    second, session = _start_waiting(stand, office, "second")

    with stand.fault("the session of one who waits is ended, and the leader resigns"):
        office.end(session)
        reign.worker.signal(signal.SIGUSR1)

    after = stand.leader(after=reign)
    assert office.holder(stand.key) != session
    assert after.worker.count("lost") == 0
    assert second.count("lost") == 0
    stand.finish()


@scenario(20, on=ALL)
def test_20_sessions_of_all_who_wait_ended(stand: Stand) -> None:
    """Some time before the leader resigns, and again in the moment in which it does."""
    office = office_at(stand)
    stand.candidate("first")
    reign = stand.leader(15)
    waiting = [_start_waiting(stand, office, who)[1] for who in ("second", "third", "fourth")]
    with stand.fault("the sessions of all who wait are ended"):
        for session in waiting:
            office.end(session)
    stand.sleep(1)

    for _ in range(4):
        holder = office.holder(stand.key)
        with stand.fault("the leader resigns while the sessions of all who wait are ended"):
            reign.worker.signal(signal.SIGUSR1)
            for session in office.sessions() - {holder}:
                with _nobody_there():
                    office.end(session)
        # Whoever was elected in between had its session taken away.
        stand.gap = _NOTIFICATION
        reign = stand.leader(after=reign)
        stand.sleep(0.5)
    stand.finish()


def _start_waiting(stand: Stand, office: Office, who: str) -> tuple[Worker, object]:
    """Start one more, and return it with the session that it has opened."""
    before = office.sessions()
    worker = stand.candidate(who)
    await_true("it has a session", lambda: office.sessions() - before, 10)
    stand.sleep(0.2)  # so that it stands
    (session,) = office.sessions() - before
    return worker, session


# -- 21 -----------------------------------------------------------------------------------------


@scenario(21, on=ALL, quick=["sqlite"])
def test_21_leader_dies_while_the_next_one_stands_still(stand: Stand) -> None:
    """Both sessions end at about the same time: a third one leads, and the second never by it."""
    stand.candidate("first")
    reign = stand.leader(15)
    second = stand.candidate("second")
    stand.sleep(0.3)
    third = stand.candidate("third")
    stand.sleep(0.3)

    with stand.paused(second):
        stand.mark("SIGKILL of who leads")
        reign.worker.signal(signal.SIGKILL)
        after = stand.leader(stand.times.failover() + stand.ttl, after=reign)
        assert after.worker is third
    stand.sleep(0.5)
    assert second.belief() is None

    third.stop()
    assert stand.leader(after=after).worker is second
    stand.finish()


@scenario(21, on=ALL)
def test_21_leader_dies_and_the_next_one_is_a_little_late(stand: Stand) -> None:
    """It wakes up again at each moment around the end of its session, and of the leader's."""
    for who in ("first", "second", "third"):
        stand.candidate(who)
        stand.leader()
    for tenths in range(6, 14, 1):
        reign = stand.leader()
        (waiting, *_) = [
            one
            for one in stand.fleet.workers
            if one is not reign.worker and one.process.alive and not one.ending
        ]
        with stand.paused(waiting):
            reign.worker.signal(signal.SIGKILL)
            stand.sleep(stand.times.leases * tenths / 10)
        stand.leader(after=reign)
        stand.candidate(f"spare-{tenths}")
    stand.finish()


@scenario(21, on=SERVERS)
def test_21_both_sessions_ended_by_an_operator(stand: Stand) -> None:
    """In either order, with nothing in between: the next one is a third, or stands anew."""
    stand.gap = _NOTIFICATION
    office = office_at(stand)
    foreign = office.sessions()  # of other elections on the same server
    for who in ("first", "second", "third", "fourth"):
        stand.candidate(who)
    for number in range(4):
        reign = stand.leader()
        stand.sleep(1)  # so that all the others wait, and Consul may be asked at once again
        holder = office.holder(stand.key)
        (session, *_) = office.sessions() - foreign - {holder}
        with stand.fault("the sessions of the leader and of one who waits are ended"):
            for one in [holder, session] if number % 2 else [session, holder]:
                with _nobody_there():
                    office.end(one)
        after = stand.leader(after=reign)
        assert office.holder(stand.key) not in {holder, session}
        assert after.token > reign.token
    stand.finish()
