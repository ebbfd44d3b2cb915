"""Faults of the whole store: restarts, lost data, slow disks, another granted ttl."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from leadership_core import open_store
from tests.support.outages import (
    bring_back_data,
    database_of,
    keep_data,
    led_for,
    locked,
    stall,
    wipe,
)
from tests.support.recording import now
from tests.support.testbed import Testbed
from tests.support.waiting import wait_until
from tests.support.workers import LeaderTerm, Worker
from tests.system.catalogue import ONE_SERVER, QUICK, SERVERS, SERVERS_WITH_SESSIONS, scenario

pytestmark = pytest.mark.slow

_MARGIN = 0.5  # seconds, the least that is in force by default
_LATE = 0.1  # seconds that the polls of a process may be apart on a busy machine


def _two(testbed: Testbed) -> LeaderTerm:
    """Start two candidates, and wait until one leads and one waits."""
    testbed.candidate("first")
    leader = testbed.await_leader(15)
    testbed.candidate("second")
    return leader


def _await_no_leader(testbed: Testbed) -> None:
    wait_until(lambda: testbed.fleet.leader() is None, testbed.ttl + 1, "there is no leader")


# -- 15 -----------------------------------------------------------------------------------------


@scenario(15, on=ONE_SERVER, quick=QUICK, releases=True)
def test_15_server_killed_and_restarted(testbed: Testbed) -> None:
    """Its timers restart and its data stay: the term continues, or the next one has a larger token."""
    server = testbed.own_server()
    before = _two(testbed)

    with testbed.fault("the server is stopped, and started"):
        server.stop()
        time.sleep(0.3)
        server.start()
    after = testbed.await_leader()
    assert after.token >= before.token
    wait_until(lambda: _is_up(after.worker), 15, "the store is up again")

    with testbed.fault("SIGKILL of the server, and a start"):
        server.restart()
    after = testbed.await_leader()
    assert after.token >= before.token

    with testbed.fault("SIGKILL of the server and of the leader, and a start"):
        after.worker.signal(signal.SIGKILL)
        server.restart()
    assert testbed.await_leader(after=after).worker is not after.worker
    testbed.finish()


_AWAY = pytest.mark.parametrize("how", ["killed", "frozen"])


@_AWAY
@scenario(15, on=ONE_SERVER, quick=QUICK)
def test_15_server_away_for_three_leases(testbed: Testbed, how: str) -> None:
    """Leadership ends in time, and the candidates campaign again after the outage."""
    server = testbed.own_server()
    before = _two(testbed)

    _take_away(testbed, server, before, how, 3 * testbed.ttl)

    assert testbed.await_leader(after=before).token > before.token
    testbed.finish()


@_AWAY
@scenario(15, on=ONE_SERVER, seconds=300)
def test_15_server_away_with_a_long_lease(testbed: Testbed, how: str) -> None:
    """With a ttl of 15 s an outage of 5 s ends no term, and one of 40 s ends it in time."""
    options = {"max_session": 60.0} if testbed.kind == "zookeeper" else {}
    server = testbed.own_server(**options)
    testbed.ttl = 15.0
    before = _two(testbed)

    with testbed.fault(f"the server is {how} for 5 s"):
        server.kill() if how == "killed" else server.pause()
        time.sleep(5.0)
        server.start() if how == "killed" else server.resume()
    time.sleep(20.0)
    assert testbed.await_leader(1).token == before.token

    _take_away(testbed, server, before, how, 40.0)
    testbed.await_leader(after=before)
    testbed.finish()


def _take_away(testbed: Testbed, server: Any, leader: LeaderTerm, how: str, seconds: float) -> None:
    with testbed.fault(f"the server is {how} for {seconds:g} s"):
        away = now()
        server.kill() if how == "killed" else server.pause()
        time.sleep(seconds)
        assert led_for(leader, away) < testbed.ttl - _MARGIN + _LATE
        assert leader.worker.await_event("lost", 1).reason == "expired"
        server.start() if how == "killed" else server.resume()


def _is_up(worker: Worker) -> bool:
    # The outage may have been too short for this candidate to notice.
    return worker.count("store_down") == worker.count("store_up")


# -- 16 -----------------------------------------------------------------------------------------


@scenario(16, on=[*SERVERS, "postgres"])
def test_16_data_wiped(testbed: Testbed) -> None:
    """Tokens restart, which a former leader reports with a warning; there are never two leaders."""
    server = testbed.own_server()
    before = _two_with_large_tokens(testbed)
    testbed.forgets = True

    with testbed.fault("the data of the server are deleted"):
        server.kill()
        _await_no_leader(testbed)
        wipe(server)
        server.start()

    _assert_lost_history_reported(testbed, before)
    testbed.finish()


@scenario(16, on=["redis"])
def test_16_data_wiped_and_tokens_grow(testbed: Testbed) -> None:
    """The server's clock makes the tokens, so the next one is larger than those of the lost data."""
    server = testbed.own_server()
    before = _two(testbed)

    with testbed.fault("the data of the server are deleted"):
        server.kill()
        _await_no_leader(testbed)
        wipe(server)
        server.start()

    assert testbed.await_leader(after=before).token > before.token
    testbed.finish()


@scenario(16, on=["sqlite"], quick=["sqlite"])
def test_16_file_deleted(testbed: Testbed) -> None:
    """The file is deleted while in use; the leader is notified, and a new file is used."""
    before = _two_with_large_tokens(testbed)
    testbed.forgets = True
    testbed.gap = 0.5  # it is an operator who takes the claim away

    with testbed.fault("the file is deleted"):
        file = database_of(testbed.url)
        for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
            file.with_name(name).unlink(missing_ok=True)

    _assert_lost_history_reported(testbed, before)
    testbed.finish()


@scenario(16, on=SERVERS_WITH_SESSIONS)
def test_16_older_data_brought_back(testbed: Testbed) -> None:
    """A restored claim of a former term does not make its candidate leader."""
    server = testbed.own_server()
    old = _two(testbed)
    server.kill()
    copy = keep_data(server)
    server.start()
    old = testbed.await_leader()
    old.worker.signal(signal.SIGUSR1)
    new = testbed.await_leader(after=old)
    testbed.forgets = True

    with testbed.fault("the data of the server are those of an earlier time"):
        server.kill()
        _await_no_leader(testbed)
        bring_back_data(server, copy)
        server.start()

    leader = testbed.await_leader()
    assert leader.since > new.since
    testbed.finish()


def _two_with_large_tokens(testbed: Testbed) -> LeaderTerm:
    """Start two candidates with a token that an empty store does not soon reach."""
    testbed.candidate("first")
    first = testbed.await_leader(15)
    with open_store(testbed.url) as store:
        for number in range(50):
            store.put(f"{testbed.key}-other", str(number).encode())
    testbed.candidate("second")
    first.worker.signal(signal.SIGUSR1)
    return testbed.await_leader(after=first)


def _assert_lost_history_reported(testbed: Testbed, before: LeaderTerm) -> None:
    """Wait until the former leader leads again, and check its warning about the lost history."""
    wait_until(
        lambda: _is_smaller(testbed, before), testbed.recovery, "one leads by a smaller token"
    )
    leader = testbed.await_leader()
    for _ in range(5):  # it may take some time to enter again
        if leader.worker is before.worker:
            break
        leader.worker.signal(signal.SIGUSR1)
        leader = testbed.await_leader(after=leader)
        testbed.sleep(0.5)
    assert "the store has lost history" in leader.worker.process.tail(100)


def _is_smaller(testbed: Testbed, before: LeaderTerm) -> bool:
    leader = testbed.fleet.leader()
    return leader is not None and leader.token < before.token


# -- 31 -----------------------------------------------------------------------------------------


@scenario(31, on=SERVERS_WITH_SESSIONS)
def test_31_slow_disk_with_a_patient_lease(testbed: Testbed) -> None:
    """Renewals that are late by a second end no term of six seconds."""
    server = testbed.own_server()
    testbed.ttl = 6.0
    before = _two(testbed)

    with testbed.fault("the server stalls for a second, again and again"):
        stall(server, 1.0, then=0.8, times=4)

    assert testbed.await_leader(1).token == before.token
    assert before.worker.count("lost") == 0
    testbed.finish()


@scenario(31, on=SERVERS_WITH_SESSIONS)
def test_31_slow_disk_with_a_short_lease(testbed: Testbed) -> None:
    """Leaders that cannot renew in time lose, and lead again when the disk has recovered."""
    server = testbed.own_server()
    _two(testbed)

    with testbed.fault("the server stalls for a second and more, again and again"):
        for number in range(8):
            stall(server, 1.0 + 0.25 * (number % 3), then=0.1 * (number % 4), times=2)

    testbed.await_leader()
    testbed.finish()


@scenario(31, on=["sqlite"], quick=["sqlite"])
def test_31_database_locked(testbed: Testbed) -> None:
    """A leader that cannot write for two ttl leads for less than one of them."""
    before = _two(testbed)

    with testbed.fault("another program holds the database"):
        since = now()
        with locked(database_of(testbed.url)):
            time.sleep(3.0)
            assert led_for(before, since) < testbed.ttl - _MARGIN + _LATE

    assert testbed.await_leader().token > before.token
    testbed.finish()


@scenario(31, on=["sqlite"])
def test_31_database_locked_again_and_again(testbed: Testbed) -> None:
    """A writer that lets others write between its locks ends no term of six seconds."""
    testbed.ttl = 6.0
    before = _two(testbed)

    with testbed.fault("another program writes for a second, again and again"):
        for _ in range(6):
            with locked(database_of(testbed.url)):
                time.sleep(1.0)
            time.sleep(0.2)

    assert testbed.await_leader(1).token == before.token
    assert before.worker.count("lost") == 0
    testbed.finish()


# -- 32 -----------------------------------------------------------------------------------------


@scenario(32, on=["etcd", "zookeeper"])
def test_32_longer_lease_granted(testbed: Testbed) -> None:
    """The longer ttl is adopted and reported once, and failover takes as long."""
    options: dict[str, dict[str, Any]] = {
        "etcd": {"settings": {"heartbeat-interval": "300", "election-timeout": "3000"}},
        "zookeeper": {"settings": {"minSessionTimeout": 5000}},
    }
    granted = 5
    testbed.own_server(**options[testbed.kind])
    leader = _two(testbed)
    said = f"granted a ttl of {granted} s where {testbed.ttl:g} s were asked for"
    assert leader.worker.process.tail(100).count(said) == 1

    testbed.sleep(1.5)
    assert testbed.await_leader(1).token == leader.token
    killed = testbed.mark("SIGKILL of the leader")
    leader.worker.signal(signal.SIGKILL)

    after = testbed.await_leader(granted + 2.0, after=leader)
    # A third of it may have passed since the last renewal.
    assert (after.since - killed) / 1e9 > granted * 2 / 3 - 0.5
    testbed.finish()


@scenario(32, on=["zookeeper"], quick=["zookeeper"])
def test_32_shorter_lease_granted(testbed: Testbed) -> None:
    """A leader with a requested ttl of 10 s and a granted one of 3 s leads for less than 3 s."""
    testbed.own_server(max_session=3.0)
    testbed.ttl = 10.0
    link = testbed.link()
    testbed.candidate("first", link)
    before = testbed.await_leader(15)
    testbed.candidate("second")

    with testbed.fault("the link of the leader is cut"):
        since = now()
        link.cut()
        after = testbed.await_leader(5.0, after=before)
        assert led_for(before, since) < 3.0 - _MARGIN + _LATE
        link.heal()

    assert after.worker is not before.worker
    testbed.finish()


@scenario(32, on=["zookeeper"])
def test_32_shorter_lease_from_now_on(testbed: Testbed) -> None:
    """The server restarts with a smaller maximum during a term, and the smaller ttl applies."""
    server = testbed.own_server(max_session=10.0)
    testbed.ttl = 10.0
    link = testbed.link()
    testbed.candidate("first", link)
    before = testbed.await_leader(15)
    testbed.candidate("second", link)

    with testbed.fault("the server restarts with sessions of three seconds at most"):
        server.stop()
        server.settings["maxSessionTimeout"] = 3000
        server.start()
    wait_until(
        lambda: "granted a ttl of 3 s" in before.worker.process.tail(100),
        testbed.recovery,
        "it was reported",
    )
    leader = testbed.await_leader()

    with testbed.fault("all links are cut"):
        since = now()
        link.cut()
        time.sleep(4.0)
        assert led_for(leader, since) < 3.0 - _MARGIN + _LATE
        link.heal()
    testbed.await_leader()
    testbed.finish()


@scenario(32, on=["consul"], quick=["consul"])
def test_32_short_lease_refused(testbed: Testbed) -> None:
    """A Consul with its default minimum of 10 s refuses a shorter ttl, with its reason."""
    testbed.own_server(dev=True, config={"session_ttl_min": "10s"})
    short = testbed.fleet.start("short")
    wait_until(lambda: short.recording.read().remarks, 15, "it was refused")
    refusal = short.recording.remarks[0]
    assert refusal["error"] == "ConfigurationError"
    assert "10" in refusal["says"]
    assert "session_ttl_min" in refusal["says"]
    short.process.wait(15)

    testbed.fleet.ttl = 10.0
    testbed.candidate("patient")
    testbed.await_leader(15)
    testbed.finish()
