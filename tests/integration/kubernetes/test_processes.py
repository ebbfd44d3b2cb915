"""Processes that fork while they lead, and processes that gevent has patched."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from leadership_core import open_store
from tests.support.paths import ROOT, python_path
from tests.support.servers.kubernetes import Kubernetes

pytestmark = pytest.mark.slow


def test_forked_child_never_leads(shared_kubernetes: Kubernetes, unique_key: str) -> None:
    """It releases nothing, whatever it calls and however it ends; its parent does at its end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.forker", shared_kubernetes.url, unique_key],
        env={**os.environ, **python_path()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "COMPLAINT" not in said, said
    assert "Exception ignored" not in said, said
    story, end = (json.loads(line) for line in done.stdout.splitlines())
    assert all(story["led"]), said
    assert (story["exit"], end) == (0, {"closed": True}), said
    with open_store(shared_kubernetes.url) as store:
        assert store.leader(unique_key) is None


def test_election_works_in_process_patched_by_gevent(
    shared_kubernetes: Kubernetes, unique_key: str
) -> None:
    """Its term outlasts one ttl while other greenlets run, and is released."""
    program = ROOT / "tests" / "system" / "gevent_program.py"
    done = subprocess.run(
        [sys.executable, str(program), shared_kubernetes.url, unique_key, "4"],
        env={**os.environ, **python_path()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
