"""The story that every recipe has to pass: SIGTERM hands over at once, SIGKILL after the ttl."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tests.recipes.programs import TTL, Program, Stage

__all__ = ["check_handovers"]

_START = 15.0  # seconds in which a program has started and leads, on an idle machine


def check_handovers(
    stage: Stage, before_sigterm: Callable[[Program], None] = lambda _: None
) -> None:
    """End the leader with SIGTERM, and the next one with SIGKILL, and see who leads and works.

    Args:
        stage: of the recipe.
        before_sigterm: called with the leader, when another program waits.
    """
    stage.start()
    first, pid = stage.await_leader(_START)
    second = stage.start()
    before_sigterm(first)
    first.process.send(signal.SIGTERM)
    code = first.process.wait(30)
    released = stage.leader_pid()
    assert code in stage.recipe.codes, stage.logs()
    assert released != pid, "the program has ended, and its claim is still there"

    leading, pid = stage.await_leader(_START, other_than=pid)
    assert leading is second
    third = stage.start()
    os.kill(pid, signal.SIGKILL)
    assert stage.leader_pid() == pid, "a crash releases nothing: the lease has to end"
    if pid == second.process.pid:  # a single process has ended; a master starts another worker
        second.process.wait(10)
    leading, _ = stage.await_leader(_START + TTL, other_than=pid)
    assert leading in {second, third}
    stage.assert_one_worker_per_term()
