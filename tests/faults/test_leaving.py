"""Resigning and stopping: again and again, at once, in each state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.catalogue import ALL, scenario
from tests.faults.stand import Stand
from tests.scenarios.diary import Diary
from tests.scenarios.fleet import Worker, await_true

pytestmark = pytest.mark.slow

_PHASES = 9


@scenario(27, on=ALL, seconds=300)
def test_27_resigning_a_thousand_times(stand: Stand) -> None:
    """Two that are tired as soon as they are elected hand over to each other."""
    _to_and_fro(stand, 1000)


@scenario(27, on=["etcd"], quick=["etcd"])
def test_27_resigning_to_and_fro(stand: Stand) -> None:
    """Likewise, not as often."""
    _to_and_fro(stand, 100)


def _to_and_fro(stand: Stand, times: int) -> None:
    pair = [stand.candidate(who, odd="leavers.tired:0.01") for who in ("first", "second")]
    await_true(f"{times} terms", lambda: sum(one.count("resigned") for one in pair) >= times, 280)
    for worker in pair:
        worker.cue()
    assert stand.leader().token >= times
    assert sum(worker.count("lost") for worker in pair) == 0
    assert min(worker.count("resigned") for worker in pair) > times / 10
    stand.finish()


@scenario(27, on=ALL, quick=["sqlite"])
def test_27_resigning_and_stopping_at_once(stand: Stand) -> None:
    """From four threads: each `stop` returns True, and nothing is left that others wait for."""
    count = 25
    host = stand.candidate("host", odd=f"leavers.races:{count},{stand.folder}")
    stand.leader()
    host.cue()

    for number in range(count):
        said = host.await_remark("guest", 30, after=number)
        assert all(said["confirmed"]), said
    _join_guests(stand, host, [f"guest-{number}" for number in range(count)])
    stand.candidate("next")
    stand.leader(2)
    stand.finish()


@scenario(27, on=ALL, quick=["consul"])
def test_27_stopped_in_each_phase(stand: Stand) -> None:
    """Confirmed each time, a second time, too, within a ttl, and the next one can lead at once."""
    host = stand.candidate("host", odd=f"leavers.stops_in_each_phase:{stand.folder}")
    stand.leader()
    host.cue()

    told = [host.await_remark("phase", 30, after=number) for number in range(_PHASES)]
    for said in told:
        assert said["reached"], said
        assert said["confirmed"] == [True, True], said
        assert said["took"] < stand.ttl + 0.5, said
    _join_guests(stand, host, [said["phase"].lower() for said in told if said["phase"] != "IDLE"])
    stand.candidate("next")
    stand.leader(2)
    stand.finish()


@scenario(27, on=ALL)
def test_27_told_twice_to_stop(stand: Stand) -> None:
    """By two signals, one on the heels of the other, while it leads and while it waits."""
    first = stand.candidate("first")
    stand.leader()
    second = stand.candidate("second")
    for worker in (second, first):
        worker.stop()
        worker.stop()
    for worker in (second, first):
        assert worker.process.wait(stand.ttl + 5) == 0, worker.told()
    stand.finish()


def _join_guests(stand: Stand, host: Worker, names: list[str]) -> None:
    diaries = [Diary(Path(stand.folder, f"{name}.diary"), name) for name in names]
    for guest in stand.fleet.join(host.process, diaries):
        guest.ending = True
