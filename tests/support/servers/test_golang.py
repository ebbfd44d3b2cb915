from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.servers.golang import build_go
from tests.support.servers.provision import ProvisionError

_HELLO = 'package main\n\nfunc main() { print("hello") }\n'

_BUILDS = """
import sys
from pathlib import Path
from tests.support.servers.golang import build_go
print(build_go("hello", {}, {"hello": Path(sys.argv[1])}) / "hello")
"""


@pytest.mark.build
@pytest.mark.timeout(600)
def test_machine_without_go_builds_once(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "main.go").write_text(_HELLO)
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    # Where the packages of Python come from is the machine's own matter.
    bare |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", _BUILDS, str(sources)],
            env=bare,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    binaries = {out.strip() for out, _ in outputs}
    assert len(binaries) == 1
    binary = Path(binaries.pop())
    assert subprocess.run([binary], capture_output=True, check=True).stderr == b"hello"

    left = {entry.name for entry in (tmp_path / "home/.cache/leadership-servers").iterdir()}
    assert left == {"go", "hello", ".lock-go", ".lock-hello"}, "something was left behind"


def test_offline_nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADERSHIP_SERVERS", str(tmp_path / "cache"))
    (tmp_path / "main.go").write_text(_HELLO)
    with pytest.raises(ProvisionError, match="--offline forbids"):
        build_go("hello", {}, {"hello": tmp_path}, offline=True)


def test_folder_without_sources_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=str(tmp_path)):
        build_go("hello", {}, {"hello": tmp_path})
