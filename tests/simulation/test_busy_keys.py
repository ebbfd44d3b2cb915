"""Hand-overs without a pause: the rate limit of Consul's requests never delays all waiting candidates."""

from __future__ import annotations

import pytest

from .busy_keys import handover_times
from .carrier_threads import CarrierThreads

_MOST = 0.1  # seconds of the simulation, in which no request takes more than 6 ms


@pytest.mark.parametrize(
    ("processes", "pause"),
    [(2, 0.0), (5, 0.0), (30, 0.1), (60, 0.0), (60, 0.05)],
)
def test_rate_limit_does_not_delay_handovers_among_many_processes(
    processes: int, pause: float, carriers: CarrierThreads
) -> None:
    """One of a hundred hand-overs takes longer than a tenth of a second, at most.

    The cooldown is longer where each leader leads for some time, so that other candidates are elected.
    """
    cooldown = 1.0 if pause else 0.05

    times = sorted(
        handover_times("consul", processes, 200, carriers, pause=pause, cooldown=cooldown)
    )

    assert times[int(len(times) * 0.99)] < _MOST, times[-10:]
