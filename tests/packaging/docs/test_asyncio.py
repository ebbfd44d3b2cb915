"""The Python blocks of `docs/asyncio.md`, run as they are."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

from leadership_core import open_store
from tests.support.paths import ROOT
from tests.support.servers.ports import free_port
from tests.support.waiting import at_most, wait_until

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/asyncio.md").read_text(), re.DOTALL)
LEADER, EVERYTHING, FASTAPI = BLOCKS


def start(block: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", block],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_leader_runs_until_sigterm_and_releases(quick_folder: Path) -> None:
    """The first example leads, ends with 143, and leaves the election free."""
    with start(LEADER, quick_folder) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "leader, with token 1\n"
            process.send_signal(signal.SIGTERM)
            _, reported = process.communicate(timeout=at_most(20))
        finally:
            process.kill()

    assert process.returncode == 128 + signal.SIGTERM
    assert "Error" not in reported
    assert "Warning" not in reported
    with open_store(f"sqlite:///{quick_folder}/leadership.db") as store:
        assert store.leader("service/api") is None


def test_everything_else_runs(quick_folder: Path) -> None:
    """The second example prints what the leader, the follower and the watch see."""
    with start(EVERYTHING, quick_folder) as process:
        try:
            said, reported = process.communicate(timeout=at_most(20))
        finally:
            process.kill()

    assert process.returncode == 0, reported
    lines = said.splitlines()
    # The callback and the follower have no common order.
    assert any(re.fullmatch(r"elected: \d+", line) for line in lines)
    assert "node-1 leads" in lines
    assert lines[-1] == "over: resigned"


def test_fastapi_example_serves(quick_folder: Path) -> None:
    """The third example leads as a service of uvicorn, and releases at the end."""
    (quick_folder / "service.py").write_text(FASTAPI)
    port = free_port()
    command = [*(sys.executable, "-m", "uvicorn", "service:app"), "--port", str(port)]
    with subprocess.Popen(command, cwd=quick_folder) as process:
        try:
            job = Request(f"http://127.0.0.1:{port}/jobs", method="POST")

            def answer() -> object:
                with suppress(OSError), urlopen(job, timeout=at_most(5)) as response:
                    return json.load(response)
                return None  # it does not listen yet, or answers 503, as it does not lead yet

            wait_until(lambda: answer() == {"token": 1}, 30)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=at_most(20))
        finally:
            process.kill()

    with open_store(f"sqlite:///{quick_folder}/leadership.db") as store:
        assert store.leader("service/api") is None
