"""The program of docs/status.md, run as it is but for its port."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.servers.ports import free_port

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "status.md").read_text()
(PROGRAM,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_program_serves_its_leader(tmp_path: Path) -> None:
    """The served leader is the program's own candidate, and SIGTERM ends both."""
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            "-u",
            "-c",
            PROGRAM.replace("8099", str(port)),
        ],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        try:
            assert process.stdout is not None
            printed = iter(process.stdout)
            assert next(printed, "").strip() == f"http://127.0.0.1:{port}/"
            assert "leader\n" in printed
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/leader", timeout=20) as answer:
                leader = json.load(answer)
            process.terminate()
            errors = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert (leader["value"], leader["me"]) == ("node-1", True)
    assert (process.returncode, errors) == (128 + 15, "")
