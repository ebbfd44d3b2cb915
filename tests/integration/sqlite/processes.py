"""Processes that have a database open and run a few lines."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

__all__ = ["PRELUDE", "ROOT", "Start", "kill_all", "line_of", "say"]

ROOT = Path(__file__).parents[3]

Start: TypeAlias = Callable[[str], "subprocess.Popen[str]"]

PRELUDE = """
import os, signal, sys, threading, time
from leadership_core.errors import *
from leadership_core.stores.sqlite import leadership_open_store
from leadership_core.backend.url import StoreURL

url = StoreURL.parse("sqlite:///" + sys.argv[1])
store = leadership_open_store(url)
"""


def kill_all(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
