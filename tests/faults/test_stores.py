"""Faults of the whole store: it restarts, it forgets, it is slow, it grants something else."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from leadership_core import open_store
from tests.faults.catalogue import SERVERS, scenario
from tests.faults.outages import (
    believed_for,
    bring_back_data,
    database_of,
    keep_data,
    locked,
    stall,
    wipe,
)
from tests.faults.stand import Stand
from tests.scenarios.diary import now
from tests.scenarios.fleet import Reign, await_true

pytestmark = pytest.mark.slow

_MARGIN = 0.5  # seconds, the least that is in force by default
_LATE = 0.1  # seconds that the looks of a process may be apart on a busy machine


def _two(stand: Stand) -> Reign:
    """Let one lead and another one wait."""
    stand.candidate("first")
    reign = stand.leader(15)
    stand.candidate("second")
    return reign


def _await_nobody(stand: Stand) -> None:
    await_true("nobody believes", lambda: stand.fleet.reign() is None, stand.ttl + 1)


# -- 15 -----------------------------------------------------------------------------------------


@scenario(15, on=SERVERS, quick=["etcd"], releases=True)
def test_15_server_killed_and_restarted(stand: Stand) -> None:
    """Its timers begin anew, its data do not: the term goes on, or there is an honest next one."""
    server = stand.own_server()
    before = _two(stand)

    with stand.fault("SIGKILL of the server, and a start"):
        server.restart()
    after = stand.leader()
    assert after.token >= before.token

    with stand.fault("SIGKILL of the server and of who leads, and a start"):
        after.worker.signal(signal.SIGKILL)
        server.restart()
    assert stand.leader(after=after).worker is not after.worker
    stand.finish()


@scenario(15, on=SERVERS)
def test_15_server_away_for_three_leases(stand: Stand) -> None:
    """Belief ends in time, and those who were there before stand again."""
    server = stand.own_server()
    before = _two(stand)

    with stand.fault("SIGKILL of the server, for three ttl"):
        away = now()
        server.kill()
        stand.sleep(3)
        assert believed_for(before, away) < stand.ttl - _MARGIN + _LATE
        server.start()

    assert stand.leader().token > before.token
    stand.finish()


# -- 16 -----------------------------------------------------------------------------------------


@scenario(16, on=SERVERS)
def test_16_data_wiped(stand: Stand) -> None:
    """Tokens begin anew, which who has led before says with a warning; there are never two."""
    server = stand.own_server()
    before = _two_with_large_tokens(stand)
    stand.forgets = True

    with stand.fault("the data of the server are deleted"):
        server.kill()
        _await_nobody(stand)
        wipe(server)
        server.start()

    _assert_told_of_lost_history(stand, before)
    stand.finish()


@scenario(16, on=["sqlite"], quick=["sqlite"])
def test_16_file_deleted(stand: Stand) -> None:
    """The file goes while it is in use; whoever leads hears of it, and the next file is used."""
    before = _two_with_large_tokens(stand)
    stand.forgets = True
    stand.gap = 0.5  # it is an operator who takes the claim away

    with stand.fault("the file is deleted"):
        file = database_of(stand.url)
        for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
            file.with_name(name).unlink(missing_ok=True)

    _assert_told_of_lost_history(stand, before)
    stand.finish()


@scenario(16, on=SERVERS)
def test_16_older_data_brought_back(stand: Stand) -> None:
    """A claim of a term that is over stands again, of one who is there and does not lead by it."""
    server = stand.own_server()
    old = _two(stand)
    server.kill()
    copy = keep_data(server)
    server.start()
    old = stand.leader()
    old.worker.signal(signal.SIGUSR1)
    new = stand.leader(after=old)
    stand.forgets = True

    with stand.fault("the data of the server are those of an earlier time"):
        server.kill()
        _await_nobody(stand)
        bring_back_data(server, copy)
        server.start()

    reign = stand.leader()
    assert reign.since > new.since
    stand.finish()


def _two_with_large_tokens(stand: Stand) -> Reign:
    """One waits and one leads, by a token that a store without its data takes long to get to."""
    stand.candidate("first")
    first = stand.leader(15)
    with open_store(stand.url) as store:
        for number in range(50):
            store.put(f"{stand.key}-other", str(number).encode())
    stand.candidate("second")
    first.worker.signal(signal.SIGUSR1)
    return stand.leader(after=first)


def _assert_told_of_lost_history(stand: Stand, before: Reign) -> None:
    """Wait until the one that led before leads again, and look what it has said to that."""
    await_true("one leads by a smaller token", lambda: _is_smaller(stand, before), stand.recovery)
    reign = stand.leader()
    for _ in range(5):  # it may take some time to stand again
        if reign.worker is before.worker:
            break
        reign.worker.signal(signal.SIGUSR1)
        reign = stand.leader(after=reign)
        stand.sleep(0.5)
    assert "the store has lost history" in reign.worker.process.tail(100)


def _is_smaller(stand: Stand, before: Reign) -> bool:
    reign = stand.fleet.reign()
    return reign is not None and reign.token < before.token


# -- 31 -----------------------------------------------------------------------------------------


@scenario(31, on=SERVERS)
def test_31_slow_disk_with_a_patient_lease(stand: Stand) -> None:
    """Renewals that are late by a second cost no term of six."""
    server = stand.own_server()
    stand.ttl = 6.0
    before = _two(stand)

    with stand.fault("the server stalls for a second, again and again"):
        stall(server, 1.0, then=0.8, times=4)

    assert stand.leader(1).token == before.token
    assert before.worker.count("lost") == 0
    stand.finish()


@scenario(31, on=SERVERS)
def test_31_slow_disk_with_a_short_lease(stand: Stand) -> None:
    """Those who do not get through in time lose, and lead again when the disk is well."""
    server = stand.own_server()
    _two(stand)

    with stand.fault("the server stalls for a second and more, again and again"):
        for number in range(8):
            stall(server, 1.0 + 0.25 * (number % 3), then=0.1 * (number % 4), times=2)

    stand.leader()
    stand.finish()


@scenario(31, on=["sqlite"], quick=["sqlite"])
def test_31_database_locked(stand: Stand) -> None:
    """Who cannot write for two ttl believes for less than one of them."""
    before = _two(stand)

    with stand.fault("another program holds the database"):
        since = now()
        with locked(database_of(stand.url)):
            time.sleep(3.0)
            assert believed_for(before, since) < stand.ttl - _MARGIN + _LATE

    assert stand.leader().token > before.token
    stand.finish()


@scenario(31, on=["sqlite"])
def test_31_database_locked_again_and_again(stand: Stand) -> None:
    """A writer that leaves room for others costs a lease of six seconds nothing."""
    stand.ttl = 6.0
    before = _two(stand)

    with stand.fault("another program writes for a second, again and again"):
        for _ in range(6):
            with locked(database_of(stand.url)):
                time.sleep(1.0)
            time.sleep(0.2)

    assert stand.leader(1).token == before.token
    assert before.worker.count("lost") == 0
    stand.finish()


# -- 32 -----------------------------------------------------------------------------------------


@scenario(32, on=["etcd", "zookeeper"])
def test_32_longer_lease_granted(stand: Stand) -> None:
    """It is adopted, said once, and so long the others wait."""
    options: dict[str, dict[str, Any]] = {
        "etcd": {"settings": {"heartbeat-interval": "300", "election-timeout": "3000"}},
        "zookeeper": {"settings": {"minSessionTimeout": 5000}},
    }
    granted = 5
    stand.own_server(**options[stand.kind])
    reign = _two(stand)
    said = f"granted a ttl of {granted} s where {stand.ttl:g} s were asked for"
    assert reign.worker.process.tail(100).count(said) == 1

    stand.sleep(1.5)
    assert stand.leader(1).token == reign.token
    killed = stand.mark("SIGKILL of who leads")
    reign.worker.signal(signal.SIGKILL)

    after = stand.leader(granted + 2.0, after=reign)
    # A third of it may have passed since the last renewal.
    assert (after.since - killed) / 1e9 > granted * 2 / 3 - 0.5
    stand.finish()


@scenario(32, on=["zookeeper"], quick=["zookeeper"])
def test_32_shorter_lease_granted(stand: Stand) -> None:
    """Who asked for ten seconds and got three believes for less than three."""
    stand.own_server(max_session=3.0)
    stand.ttl = 10.0
    link = stand.link()
    stand.candidate("first", link)
    before = stand.leader(15)
    stand.candidate("second")

    with stand.fault("the link of who leads is cut"):
        since = now()
        link.cut()
        after = stand.leader(5.0, after=before)
        assert believed_for(before, since) < 3.0 - _MARGIN + _LATE
        link.heal()

    assert after.worker is not before.worker
    stand.finish()


@scenario(32, on=["zookeeper"])
def test_32_shorter_lease_from_now_on(stand: Stand) -> None:
    """The server comes back with a smaller maximum in mid-term: that counts from there on."""
    server = stand.own_server(max_session=10.0)
    stand.ttl = 10.0
    link = stand.link()
    stand.candidate("first", link)
    before = stand.leader(15)
    stand.candidate("second", link)

    with stand.fault("the server restarts with sessions of three seconds at most"):
        server.stop()
        server.settings["maxSessionTimeout"] = 3000
        server.start()
    await_true(
        "it was told",
        lambda: "granted a ttl of 3 s" in before.worker.process.tail(100),
        stand.recovery,
    )
    reign = stand.leader()

    with stand.fault("all links are cut"):
        since = now()
        link.cut()
        time.sleep(4.0)
        assert believed_for(reign, since) < 3.0 - _MARGIN + _LATE
        link.heal()
    stand.leader()
    stand.finish()


@scenario(32, on=["consul"], quick=["consul"])
def test_32_short_lease_refused(stand: Stand) -> None:
    """A Consul with its usual least ttl of ten seconds says so to whoever asks for less."""
    stand.own_server(dev=True, config={"session_ttl_min": "10s"})
    short = stand.fleet.start("short")
    await_true("it was refused", lambda: short.diary.read().remarks, 15)
    refusal = short.diary.remarks[0]
    assert refusal["error"] == "ConfigurationError"
    assert "10" in refusal["says"]
    assert "session_ttl_min" in refusal["says"]
    short.process.wait(15)

    stand.fleet.ttl = 10.0
    stand.candidate("patient")
    stand.leader(15)
    stand.finish()
