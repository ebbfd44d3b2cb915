"""An older release of the library and the present one in one election, as in an upgrade.

The wheels beside this file are those of commit 611de42, from before the first publication: `python -m hatchling build -t wheel`
in each of its four folders makes the same bytes again. They are files, since a shallow clone or a copy has no history to build them from.
"""

from __future__ import annotations

import re
import signal
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadership_core import open_store
from tests.support.paths import ROOT
from tests.support.servers.process import Process
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

WHEELS = sorted((ROOT / "tests" / "upgrade" / "release-2026-11-23").glob("*.whl"))
OLD_ETCD = "etcd-3.5.16"
"""The old release elects no leader on etcd 3.7."""

SCRIPT = str(ROOT / "tests" / "upgrade" / "campaign.py")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The old release, unpacked: with its entry points it is found before the installed one."""
    folder = tmp_path_factory.mktemp("old")
    assert len(WHEELS) == 4
    for wheel in WHEELS:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(folder)
    return folder


@pytest.fixture
def url(request: pytest.FixtureRequest, kind: str, quick_folder: Path) -> str:
    if kind == "sqlite":
        return f"sqlite:///{quick_folder}/leadership.db"
    name = {"consul": "consul", OLD_ETCD: "etcd", "zookeeper": "shared_zookeeper"}[kind]
    return str(request.getfixturevalue(name).url)


class Node:
    """A candidate of one of the releases."""

    def __init__(self, folder: Path, path: Path, url: str, key: str, name: str) -> None:
        self.name = name
        self.process = Process(
            [sys.executable, SCRIPT, url, key, name],
            folder / f"{name}.log",
            {"PYTHONPATH": str(path)},
        )
        self.process.start()

    def tokens(self) -> list[int]:
        return [int(one) for one in re.findall(r"^elected (\d+)", self._log(), re.MULTILINE)]

    def campaigns(self) -> bool:
        return "not elected" in self._log()

    def _log(self) -> str:
        return self.process.log.read_text()


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    started: list[Node] = []
    yield started
    for node in started:
        node.process.kill()


@pytest.mark.parametrize("kind", ["sqlite", "consul", OLD_ETCD, "zookeeper"])
def test_old_and_new_release_share_an_election(
    kind: str, url: str, old: Path, nodes: list[Node], tmp_path: Path, unique_key: str
) -> None:
    """Old, new, old, new: each leads after the end of the one before, with a larger token."""
    tokens: list[int] = []
    with open_store(url) as store:
        for number in range(4):
            path = ROOT if number % 2 else old
            node = Node(
                tmp_path, path, url, unique_key, f"{'new' if number % 2 else 'old'}-{number}"
            )
            nodes.append(node)
            wait_until(node.campaigns, 15, f"it campaigns: {node.process.tail()}")
            if number:
                before = nodes[number - 1]
                assert node.tokens() == [], "two lead"
                before.process.send([signal.SIGINT, signal.SIGKILL][number % 2])
                before.process.wait(15)
            wait_until(node.tokens, 25, f"it leads: {node.process.tail()}")
            leader = store.leader(unique_key)
            assert leader is not None
            assert (str(leader), leader.token) == (node.name, node.tokens()[-1])
            tokens += node.tokens()
    assert tokens == sorted(set(tokens))


def test_the_old_release_is_the_old_one(old: Path, tmp_path: Path) -> None:
    """Otherwise the test above would compare the present release with itself."""
    show = "import leadership_core, leadership_etcd; print(leadership_core.__file__, leadership_etcd.__file__)"
    process = Process(
        [sys.executable, "-P", "-c", show], tmp_path / "log", {"PYTHONPATH": str(old)}
    )
    process.start()
    assert process.wait(20) == 0
    assert process.tail().count(str(old)) == 2
