"""Children that are forked while their parent leads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.scenarios.conftest import Place
from tests.scenarios.fleet import ROOT
from tests.scenarios.offices import office_of
from tests.scenarios.places import on_servers
from tests.servers.consul import Consul
from tests.servers.etcd import Etcd
from tests.servers.zookeeper import ZooKeeper

pytestmark = pytest.mark.slow


@on_servers
def test_forked_children(place: Place, shared: Consul | Etcd | ZooKeeper, unique_key: str) -> None:
    """Never leader; they free nothing, whatever they do and however they end."""
    _fork(place.url, unique_key)
    # Its parent, on the other hand, has released it at its end.
    assert office_of(shared).holder(unique_key) is None


def test_forked_children_on_sqlite(on_sqlite: Place, unique_key: str) -> None:
    """Never leader; they free nothing, whatever they do and however they end."""
    _fork(on_sqlite.url, unique_key)


def _fork(url: str, key: str) -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "tests.scenarios.forker", url, key],
        env={**os.environ, "PYTHONPATH": path},
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
