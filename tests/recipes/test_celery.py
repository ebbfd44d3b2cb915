"""Celery beat: each due task is sent once, across all hand-overs."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import pairwise

import pytest

from tests.recipes.conftest import SetUp
from tests.recipes.handover import check_handovers
from tests.recipes.programs import Program
from tests.support.servers.redis import RedisServer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_SENT = re.compile(r"\[([-\d]+ [\d:]+),(\d+): .*sending report in term")
_SCHEDULE = 3.0


def test_due_task_is_sent_once(set_up: SetUp, file_url: str, redis: RedisServer) -> None:
    """The next beat goes on with the times of the last one, and sends nothing twice.

    A beat that has only waited knows no time at which the task was sent, so on its own it would send it
    at once.
    """
    stage = set_up("celery", file_url, CELERY_BROKER_URL=redis.url)

    def has_waited(first: Program) -> None:
        """Leave the waiting beat without a run for longer than the schedule; the leader has just sent one."""
        sent = len(_SENT.findall(first.process.log.read_text()))
        wait_until(lambda: len(_SENT.findall(first.process.log.read_text())) >= sent + 2, 20)

    check_handovers(stage, has_waited)

    sent = sorted(
        datetime.fromisoformat(f"{second}.{thousandth}")
        for program in stage.programs
        for second, thousandth in _SENT.findall(program.process.log.read_text())
    )
    assert len(sent) >= 3
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(sent)]
    assert min(gaps) > _SCHEDULE - 1, stage.logs()
    queued = int(redis.ask("LLEN celery").removeprefix(":").split()[0])
    assert 3 <= queued <= len(sent), "each is sent after it was noted"
