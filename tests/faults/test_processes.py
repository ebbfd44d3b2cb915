"""Faults of the process that leads: it dies, it stands still, it does not get to run."""

from __future__ import annotations

import random
import signal

import pytest

from leadership_core import open_store
from tests.faults.catalogue import ALL, scenario
from tests.faults.stand import Stand
from tests.scenarios.fleet import Reign, Worker, await_true

pytestmark = pytest.mark.slow


@scenario(1, on=ALL, quick=["sqlite"], releases=True)
def test_01_leader_killed(stand: Stand) -> None:
    """The next one leads as soon as the store has given up on the dead one."""
    stand.candidate("first")
    reign = stand.leader()
    stand.candidate("second")

    stand.mark("SIGKILL first")
    reign.worker.signal(signal.SIGKILL)

    assert stand.leader(after=reign).worker.who == "2-second"
    stand.finish()


@scenario(1, on=ALL)
def test_01_all_killed(stand: Stand) -> None:
    """Whoever comes after all of them were killed leads in time: no claim of theirs is left."""
    for who in ("first", "second", "third"):
        stand.candidate(who)
    reign = stand.leader()

    stand.mark("SIGKILL all")
    for worker in stand.fleet.workers:
        worker.signal(signal.SIGKILL)
    last = stand.candidate("last")

    assert stand.leader(after=reign).worker is last
    stand.finish()


@scenario(2, on=ALL, quick=["sqlite"])
def test_02_leader_paused(stand: Stand) -> None:
    """Its first look after the pause says no, before any of its threads has run."""
    first = stand.candidate("first", pause=0.0)  # its next look is what it wakes up to
    reign = stand.leader()
    stand.candidate("second")

    with stand.paused(first):
        second = stand.leader(after=reign)
        stand.sleep(0.1)  # so that a look which says yes would come while the second believes

    assert first.await_event("lost", 5).reason == "expired"
    assert first.diary.read().beliefs[0].until < second.since
    assert not first.diary.beliefs[0].open
    second.worker.stop()
    assert stand.leader(after=second).worker is first
    stand.finish()


@scenario(2, on=ALL)
def test_02_pauses_around_the_lease(stand: Stand) -> None:
    """However long the pause: for none is there a moment in which two of them believe."""
    for who in ("first", "second", "third"):
        stand.candidate(who, pause=0.0002)
    rng = random.Random(2)
    lease = stand.times.leases
    for part in (0.2, 0.5, 0.7, 0.8, 0.9, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0):
        reign = stand.leader()
        with stand.paused(reign.worker, *rng.sample(stand.fleet.workers, rng.randint(0, 1))):
            stand.sleep(part * lease * rng.uniform(0.95, 1.05))
    stand.finish()


@scenario(3, on=ALL, quick=["etcd"])
def test_03_paused_before_the_engine_hears(stand: Stand) -> None:
    """The store has elected it, and its answer waits: it is too late when it is taken in."""
    first, second = _pause_before_the_news(stand, "engine")

    second.worker.stop()
    assert stand.leader(after=second).worker is first
    assert first.count("elected") == 1
    stand.finish()


@scenario(3, on=ALL)
def test_03_paused_before_the_program_hears(stand: Stand) -> None:
    """The term has begun and nobody was told: it is told, and that it was lost."""
    first, second = _pause_before_the_news(stand, "program")

    assert first.await_event("lost", 5).reason == "expired"
    second.worker.stop()
    assert stand.leader(after=second).worker is first
    assert first.count("elected") == 2
    stand.finish()


def _pause_before_the_news(stand: Stand, where: str) -> tuple[Worker, Reign]:
    """Pause one until another one leads; returns both, awake."""
    with stand.fault("first is stopped when it has been elected"):
        first = stand.candidate("first", odd=f"pauses.before_the_news:{where}", pause=0.0)
        await_true("it has stopped", lambda: first.process.frozen, 10)
        stand.candidate("second")
        second = stand.leader()
        assert second.worker is not first
        stand.sleep(0.1)
        first.process.resume()
    return first, second


@scenario(4, on=ALL, quick=["zookeeper"])
def test_04_paused_between_check_and_write(stand: Stand) -> None:
    """It has looked, and it led; the store refuses what it writes then, because of the token."""
    first = stand.candidate("first", odd="pauses.writes:late")
    reign = stand.leader()
    second = stand.candidate("second", odd="pauses.writes:now")

    with stand.fault("first is stopped between its check and its write"):
        first.cue()
        await_true("it has stopped", lambda: first.process.frozen, 5)
        newer = stand.leader(after=reign)
        assert newer.worker is second
        second.cue()
        second.await_remark("written", 5)
        first.process.resume()

    assert first.await_remark("refused", 10)["refused"] == reign.token
    assert not first.remarks("written")
    with open_store(stand.url) as store:
        entry = store.get(f"{stand.key}-work")
    assert entry is not None
    assert entry.value == b"second"
    stand.finish()


@scenario(5, on=ALL, quick=["sqlite"])
def test_05_interpreter_hogged(stand: Stand) -> None:
    """A call that keeps the interpreter for longer than the lease is like a pause."""
    seconds = stand.times.pause + 0.5
    first = stand.candidate("first", odd=f"pauses.hogs:{seconds}", pause=0.0)
    reign = stand.leader()
    stand.candidate("second")

    with stand.fault("first lets no other thread run"):
        first.cue()
        second = stand.leader(after=reign)
        first.await_remark("hogged", seconds + 5)

    first.await_event("lost", 5)
    assert first.diary.read().beliefs[0].until < second.since
    second.worker.stop()
    assert stand.leader(after=second).worker is first
    stand.finish()


@scenario(5, on=ALL)
def test_05_event_loop_blocked(stand: Stand) -> None:
    """That is the program's own affair: the same term goes on."""
    seconds = stand.times.pause
    first = stand.candidate("first", odd=f"pauses.blocks_its_loop:{seconds}")
    reign = stand.leader()
    second = stand.candidate("second")

    with stand.fault("first blocks its event loop"):
        first.cue()
        first.await_remark("blocked", seconds + 5)

    assert stand.leader() == reign
    assert not second.count("elected")
    stand.finish()
