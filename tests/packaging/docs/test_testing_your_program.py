"""The examples of docs/testing-your-program.md: each block is a module of tests that passes as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "testing-your-program.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_each_example_passes(tmp_path: Path) -> None:
    """Run by a pytest that knows nothing of this repository but the installed plugin."""
    for number, block in enumerate(BLOCKS):
        (tmp_path / f"test_example_{number}.py").write_text(block)
    (tmp_path / "pytest.ini").touch()

    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
        ],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    tests = sum(block.count("def test_") for block in BLOCKS)
    assert f"{tests} passed" in done.stdout


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_has_a_test(block: str) -> None:
    """A block without one would not be run."""
    assert "\ndef test_" in block
