"""`leadership bench`: mistakes, the embedded store, Ctrl-C, and what it leaves behind."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.cli.command import environment, run

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--only", "speed"], "there is no figure 'speed'; choose from calls, import"),
        (["--json", "nowhere/a.json"], "there is no folder for the file"),
        (["--go-player", "nowhere"], "is not an executable file"),
        (["memory://"], "exists in one process only"),
        (["sqlite:///a.db", "sqlite:///b.db"], "two URLs of sqlite://"),
        (["nosuch://:hunter2@host"], "no installed plugin serves nosuch://"),
        (["etcd://host", "nonsense"], "it has no ://"),
    ],
)
def test_mistake_is_one_line_with_exit_code_2(words: list[str], part: str, tmp_path: Path) -> None:
    """As with the other commands; a password is not repeated."""
    done = run("bench", *words, cwd=tmp_path)

    assert done.code == 2, done.err
    assert part in done.err
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err


def test_missing_server_is_exit_code_4() -> None:
    """Nothing is measured on a store that does not answer."""
    done = run("bench", "consul://127.0.0.1:1", "--timeout", "1")

    assert done.code == 4
    assert done.out == ""
    assert "127.0.0.1:1" in done.err


def test_missing_distribution_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is required by nothing but this command."""
    from leadership_core import ConfigurationError
    from leadership_core.cli import bench
    from leadership_core.cli.arguments import Arguments

    monkeypatch.setattr(bench, "_PACKAGE", "leadership_bench_that_is_not_here")

    with pytest.raises(ConfigurationError, match=r"leadership-bench, which is not .*pip install"):
        bench.bench(Arguments("bench"))


def test_quick_run_without_a_url_measures_the_embedded_store(tmp_path: Path) -> None:
    """It is in a temporary file, and the last line says how to measure servers."""
    file = tmp_path / "out.json"
    words = ("--quick", "--only", "calls,install,handover", "--json", str(file))

    done = run("bench", *words, "--report", str(tmp_path / "page.md"), timeout=200)

    assert done.code == 0, done.err
    assert "[2/3] install" in done.err
    assert "leadership bench etcd://" in done.err
    assert "Time from a resignation to the next leader" in done.out
    document = json.loads(file.read_text())
    assert document["complete"]
    measured = {(one["figure"], one["contender"]) for one in document["series"]}
    assert ("handover", "leadership") in measured
    assert ("calls", "time.clock_gettime") in measured
    assert "# Benchmarks" in (tmp_path / "page.md").read_text()
    assert str(tmp_path) not in (tmp_path / "page.md").read_text()


def test_interrupted_run_prints_its_results_and_cleans_up(tmp_path: Path) -> None:
    """Ctrl-C: what was measured is shown, processes end, and no entry is left."""
    words = ("bench", f"sqlite:///{tmp_path}/a.db", "--only", "install,scale", "--json", "-")
    process = subprocess.Popen(
        [sys.executable, "-m", "leadership_core", *words],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "scale" in line:
                break
        time.sleep(2.0)  # for a player to start
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(10)

    assert process.returncode == 130
    document = json.loads(out)
    assert not document["complete"]
    assert {one["figure"] for one in document["series"]} >= {"install"}
    with sqlite3.connect(tmp_path / "a.db") as file:
        names = [
            name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        assert "entries" in names
        assert file.execute("SELECT count(*) FROM entries").fetchone() == (0,)
