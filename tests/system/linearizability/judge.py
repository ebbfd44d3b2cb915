"""Linearizability of histories, checked by Porcupine, an independent checker.

The program that asks it is `judge/main.go`, with our models of a key and of a tree.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.servers.golang import build_go

__all__ = ["History", "Verdict", "judge", "judge_program"]

Operation = dict[str, Any]
"""One operation as `judge/main.go` reads it."""

_PORCUPINE = {"github.com/anishathalye/porcupine": "v1.3.1"}
_SOURCES = Path(__file__).with_name("judge")


@dataclass(frozen=True)
class History:
    """All operations on one object.

    Attributes:
        name: of the object.
        operations: in any order.
        model: ``key``, or ``tree`` for several keys that change and are listed at once.
    """

    name: str
    operations: Sequence[Operation]
    model: str = "key"


@dataclass(frozen=True)
class Verdict:
    """The verdict of Porcupine on a history.

    Attributes:
        name: of the object.
        result: ``ok``, ``illegal``, or ``unknown`` if it took too long.
        operations: how many they were.
        story: of an illegal one, where it stops making sense.
    """

    name: str
    result: str
    operations: int
    story: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.result} ({self.operations} operations)\n{self.story}".rstrip()


def judge_program() -> Path:
    """Build the program that judges, or find it in the cache."""
    return build_go("linearizability", _PORCUPINE, {"judge": _SOURCES}) / "judge"


def judge(histories: Sequence[History], seconds: float = 120.0) -> list[Verdict]:
    """Judge each history alone, for at most so many seconds each."""
    asked = {
        "seconds": seconds,
        "histories": [
            {"name": one.name, "model": one.model, "ops": list(one.operations)} for one in histories
        ],
    }
    done = subprocess.run(
        [judge_program()], input=json.dumps(asked), text=True, capture_output=True, check=True
    )
    return [Verdict(**found) for found in json.loads(done.stdout)]
