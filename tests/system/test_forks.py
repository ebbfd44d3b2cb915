"""Children that are forked while their parent leads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.admin_tools import admin_of
from tests.support.backends import on_servers
from tests.support.paths import python_path
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.system.conftest import TargetStore

pytestmark = pytest.mark.slow


@on_servers
def test_forked_child_never_leads(
    target: TargetStore, shared: Consul | Etcd | ZooKeeper, unique_key: str
) -> None:
    """It releases nothing, whatever it calls and however it ends."""
    _fork(target.url, unique_key)
    # Its parent, on the other hand, has released it at its end.
    assert admin_of(shared).holder(unique_key) is None


def test_forked_child_never_leads_on_sqlite(on_sqlite: TargetStore, unique_key: str) -> None:
    """It releases nothing, whatever it calls and however it ends."""
    _fork(on_sqlite.url, unique_key)


def _fork(url: str, key: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.forker", url, key],
        env={**os.environ, **python_path()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "COMPLAINT" not in said, said
    assert "Exception ignored" not in said, said
    assert "a child that fails" in done.stderr
    story, end = (json.loads(line) for line in done.stdout.splitlines())
    assert all(story["led"]), said
    assert story["exit"] == 0, said
    assert end == {"closed": True}
