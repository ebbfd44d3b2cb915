"""Processes whose clocks are wrong, or jump."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.oddities.cues import on_cue
from tests.faults.oddities.dial import Dial

if TYPE_CHECKING:
    from tests.scenarios.worker import Stage


def dialled(how: str) -> Callable[[Stage], None]:
    """Have the clocks of a dial, of which this is the file."""
    Dial(Path(how)).wind()
    return lambda stage: None


def strobes(how: str) -> Callable[[Stage], None]:
    """From one cue to the next, set the wall clock to and fro, some 200 times a second.

    Args:
        how: the file of the dial.
    """
    dial = Dial(Path(how))
    dial.wind()
    strobing = threading.Event()

    def strobe() -> None:
        amounts = [3600.0, -3600.0, 0.004, -262.0, 0.0]
        while strobing.wait():
            for wall in amounts:
                dial.set(wall=wall)
                time.sleep(0.005)

    def play(stage: Stage) -> None:
        threading.Thread(target=strobe, daemon=True).start()
        on_cue(lambda: strobing.clear() if strobing.is_set() else strobing.set())

    return play
