"""The folder of the project, and the environment in which its modules can be imported."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["ROOT", "python_path"]

ROOT = Path(__file__).resolve().parents[2]


def python_path() -> dict[str, str]:
    """The variable that lets a child process import the tests."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
