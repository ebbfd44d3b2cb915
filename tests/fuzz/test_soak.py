"""All fuzz tests with twenty times as many examples, which differ in each run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_fuzz_tests_pass_with_more_examples() -> None:
    """A failure prints how to reproduce it."""
    times = os.environ.get("LEADERSHIP_FUZZ", "20")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(Path(__file__).parent), "--timeout", "3000"],
        env={**os.environ, "LEADERSHIP_FUZZ": times},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
