"""Faults of the process that leads: it dies, it stands still, it does not get to run."""

from __future__ import annotations

import signal

from tests.faults.catalogue import ALL, scenario
from tests.faults.stand import Stand


@scenario(1, on=ALL, quick=["sqlite"])
def test_01_leader_killed(stand: Stand) -> None:
    """The next one leads as soon as the store has given up on the dead one."""
    stand.candidate("first")
    reign = stand.leader()
    stand.candidate("second")

    stand.mark("SIGKILL first")
    reign.worker.signal(signal.SIGKILL)

    assert stand.leader(after=reign).worker.who == "2-second"
    stand.finish()
