"""`leadership bench` on real servers, with the other clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.support.paths import ROOT
from tests.support.servers.zookeeper import ZooKeeper
from tests.unit.cli.command import run

pytestmark = pytest.mark.timeout(300)


def test_bench_measures_kazoo_in_the_same_rounds(zookeeper: ZooKeeper, tmp_path: Path) -> None:
    """Both take part in the same cases, each round has a value of both, and no node is left."""
    file = tmp_path / "out.json"

    done = run(
        *("bench", f"{zookeeper.url}", "--quick", "--only", "handover", "--json", str(file)),
        timeout=280,
    )

    assert done.code == 0, done.err
    document = json.loads(file.read_text())
    sizes = {
        (one["contender"], one["case"]): len(one["values"])
        for one in document["series"]
        if one["contender"] in {"leadership", "kazoo Election"}
    }
    cases = {case for _, case in sizes}
    assert cases == {
        "1 waiting, each in a process",
        *(f"{n} waiting, one process" for n in (1, 10)),
    }
    for case in cases:
        assert sizes["leadership", case] == sizes["kazoo Election", case] > 0
    assert {one["contender"] for one in document["ratios"]} >= {"kazoo Election"}
    assert document["servers"]["zk"]
    client = KazooClient(f"{zookeeper.host}:{zookeeper.port}")
    client.start(10)
    try:
        left = (
            client.get_children("/leadership-bench") if client.exists("/leadership-bench") else []
        )
        assert set(left) <= {"locks"}  # tooz keeps the folder of its locks
    finally:
        client.stop()
        client.close()


@pytest.mark.soak
def test_every_contender_is_measured_or_reported(tmp_path: Path) -> None:
    """All players work with the newest servers of the tests."""
    file = tmp_path / "out.json"
    words = ("--quick", "--only", "start,crash,traffic", "--json", str(file))

    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    measured = {(one["store"], one["contender"]) for one in document["series"]}
    for one in document["contenders"]:
        assert not one["missing"], one
        assert (one["store"], one["name"]) in measured, document["notes"]
