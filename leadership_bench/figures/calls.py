"""Figure: what `is_leader` costs, beside one read of the clock."""

from __future__ import annotations

import json
import subprocess
import sys

from ..results import OURS
from ..run import Run

__all__ = ["measure"]


def measure(run: Run) -> None:
    """Measure it in a process of its own."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "leadership_bench.players.calls",
        str(run.effort.repeats),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        run.results.note(f"is_leader was not measured: {done.stderr.strip()[-200:]}")
        return
    pairs = json.loads(done.stdout)
    for index, name in enumerate((OURS, "time.clock_gettime")):
        run.results.add("calls", "", "is_leader", name, "ns", [pair[index] for pair in pairs])
