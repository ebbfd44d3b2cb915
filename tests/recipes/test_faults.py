"""All recipes at once, two programs each, on one etcd: leaders are paused, then the store is away."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from tests.recipes.conftest import SetUp
from tests.recipes.programs import TTL, Program, Stage
from tests.recipes.test_units import WORKER
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.redis import RedisServer
from tests.support.waiting import wait_until

ALL = ["apscheduler", "celery", "django", "fastapi", "gunicorn", "systemd"]
_LATE = 25.0  # seconds in which all have a leader, on an idle machine

# As the log of a candidate has it, and as `leadership run` prints it. The latter resigns where it
# has ended its child in time.
_ENDED = re.compile(r" lost: |lost token |resigned token ")

T = TypeVar("T")


def _on_all(stages: dict[str, Stage], do: Callable[[Stage], T]) -> dict[str, T]:
    with ThreadPoolExecutor(len(stages)) as pool:
        return dict(zip(stages, pool.map(do, stages.values()), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "names",
    [["apscheduler", "systemd"], pytest.param(ALL, marks=pytest.mark.soak)],
    ids=["two of them", "all"],
)
def test_recipes_survive_pauses_and_an_outage(
    names: list[str], etcd: EtcdServer, redis: RedisServer, set_up: SetUp
) -> None:
    """No program ends, no term's work is done by two programs, and afterwards each recipe has a leader."""
    prefix = {name: f"{etcd.url}/{name}" for name in names}
    stages = {name: set_up(name, prefix[name], CELERY_BROKER_URL=redis.url) for name in names}
    for stage in stages.values():
        if stage.recipe.key == "service/worker":
            (stage.folder / "worker.sh").write_text(WORKER)
            (stage.folder / "worker.sh").chmod(0o755)

    started = [(stage, stage.launch()) for stage in stages.values() for _ in range(2)]
    wait_until(lambda: all(stage.campaigns(program) for stage, program in started), _LATE, "all")

    def first(stage: Stage) -> tuple[Program, int]:
        return stage.await_leader(_LATE)

    def successor(stage: Stage) -> tuple[Program, int]:
        return stage.await_leader(_LATE + TTL, other_than=paused[stage.recipe.path])

    leaders = _on_all(stages, first)
    paused = {stages[name].recipe.path: pid for name, (_, pid) in leaders.items()}
    for pid in paused.values():
        os.kill(pid, signal.SIGSTOP)
    try:
        _on_all(stages, successor)
    finally:
        for pid in paused.values():
            os.kill(pid, signal.SIGCONT)

    etcd.pause()
    try:
        wait_until(lambda: all(map(_has_lost, stages.values())), _LATE, "all have lost")
    finally:
        etcd.resume()
    before = {name: max(_terms(stage)) for name, stage in stages.items()}
    _on_all(stages, lambda stage: stage.await_leader(_LATE + TTL))
    for name, stage in stages.items():
        wait_until(
            lambda name=name, stage=stage: max(_terms(stage)) > before[name],  # type: ignore[misc]
            _LATE,
            f"work of {name} after the outage:\n{stage.logs()}",
        )
        stage.assert_one_worker_per_term()
        assert all(program.process.alive for program in stage.programs), stage.logs()


def _terms(stage: Stage) -> list[int]:
    return [token for program in stage.programs for token in program.terms()]


def _has_lost(stage: Stage) -> bool:
    """Whether two terms were lost: that of the paused leader, and the one in the outage."""
    logs = [program.process.log.read_text() for program in stage.programs]
    return sum(len(_ENDED.findall(log)) for log in logs) >= 2
