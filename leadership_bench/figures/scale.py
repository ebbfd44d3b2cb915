"""Figure: many elections in one process: time until it leads all, threads, memory, processor time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..group import Dropped
from ..results import OURS
from ..run import Run
from ..servers import Target

__all__ = ["measure"]

_SECONDS = 120.0
# Kubernetes not: it renews each election by a write of its own, so thousands of them are no use of it.
_STORES = ("etcd", "zk", "consul", "postgresql", "redis", "sqlite")
_PEERS = ("kazoo Election", "Go concurrency.Election")
_SETTLED, _SETTLED_FEW = (
    5.0,
    2.0,
)  # seconds after the last election, until processor time is counted


def measure(run: Run, target: Target) -> None:
    """Measure ever more elections, each number in a process of its own."""
    if target.scheme not in _STORES:
        return
    for count in run.effort.elections:
        for contender in run.contenders[target.scheme]:
            if contender.name != OURS and contender.name not in _PEERS:
                continue
            if count > contender.most:
                continue
            run.progress.detail(f"scale {target.scheme}", f"{count:,}, {contender.name}")
            group = run.group(contender, target)
            try:
                with group.running():
                    group.open(1)
                    before = _memory(group.pid)
                    seconds = group.elect_all(count, _SECONDS)
                    run.children.run_for(_SETTLED if count >= 1000 else _SETTLED_FEW)
                    memory, threads = _memory(group.pid) - before, _threads(group.pid)
                    used, at = _processor_time(group.pid), time.monotonic()
                    run.children.run_for(run.effort.window)
                    idle = (_processor_time(group.pid) - used) / (time.monotonic() - at)
            except (Dropped, OSError) as reason:
                run.drop(target, contender, f"scale, {count:,} elections", reason)
                continue
            for what, unit, value in (
                ("elected", "s", seconds),
                ("threads", "threads", threads),
                ("memory", "MB", memory),
                ("idle", "% of a core", 100 * idle),
            ):
                run.results.add(
                    "scale",
                    target.scheme,
                    f"{count} election{'s' if count > 1 else ''}: {what}",
                    contender.name,
                    unit,
                    [round(value, 4)],
                )


def _memory(pid: int) -> float:
    """Resident megabytes."""
    return float(_status(pid)["VmRSS"].split()[0]) * 1024 / 1e6  # "kB" of the kernel is 1,024 bytes


def _threads(pid: int) -> float:
    return float(_status(pid)["Threads"])


def _status(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def _processor_time(pid: int) -> float:
    """Seconds of all its threads, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    after_name = fields.rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
