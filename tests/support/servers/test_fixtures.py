"""What conftest.py promises, seen from a test run of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.ports import free_port
from tests.support.servers.zookeeper import ZooKeeperServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.server


def _pytest(folder: Path, code: str, **environment: str) -> str:
    """Run a test module with our fixtures, and return what pytest said."""
    module = folder / "test_inner.py"
    module.write_text(code)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), str(module)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_thread_left_behind_fails_the_test(tmp_path: Path) -> None:
    """A thread of ours that outlives its test is an error, once, and it is named."""
    said = _pytest(
        tmp_path,
        "import threading\n"
        "def test_leaks():\n"
        "    wait = threading.Event().wait\n"
        "    threading.Thread(target=wait, name='leadership-renewal', daemon=True).start()\n"
        "def test_other():\n"
        "    pass\n",
    )

    assert "threads left running: ['leadership-renewal']" in said
    assert "2 passed, 1 error" in said


def test_unavailable_server_fails_the_run(tmp_path: Path) -> None:
    """Without a server its tests fail and say why; none is skipped."""
    said = _pytest(
        tmp_path,
        "def test_shared(consul):\n    pass\n\ndef test_own(consul_server):\n    consul_server()\n",
        PATH=str(tmp_path),
        LEADERSHIP_SERVERS=str(tmp_path / "cache"),
        PIP_NO_INDEX="1",  # so that there is no toolchain to build it with, either
    )

    assert "consul is not available: " in said
    assert "skipped" not in said
    assert "passed" not in said


def test_unavailable_curator_fails_the_run(tmp_path: Path) -> None:
    """Without Maven or a compiler, the tests with Curator fail and say why."""
    said = _pytest(
        tmp_path,
        "from tests.support.servers.requirements import found\n"
        "def test_theirs():\n    found('curator')\n",
        PATH=str(tmp_path),
        LEADERSHIP_SERVERS=str(tmp_path / "cache"),
    )

    assert "curator is not available: " in said
    assert "skipped" not in said
    assert "1 failed" in said


def test_servers_end_with_a_test_that_fails(tmp_path: Path) -> None:
    """A failing test leaves neither its own agent nor the shared one running, nor a proxy."""
    said = _pytest(
        tmp_path,
        "def test_fails(consul, consul_server, proxy):\n"
        "    agent = consul_server(dev=True)\n"
        "    proxy(agent.port).cut()\n"
        "    agent.pause()\n"
        "    print('pids', consul.process.pid, agent.process.pid)\n"
        "    raise RuntimeError('on purpose')\n",
        LEADERSHIP_TEST_CONSUL="",
    )

    found = re.search(r"^pids (\d+) (\d+)$", said, re.MULTILINE)
    assert found, said
    assert "1 failed" in said
    assert eventually(lambda: not any(Path("/proc", pid).exists() for pid in found.groups()))


def test_named_running_servers_are_used(
    tmp_path: Path, etcd: EtcdServer, zookeeper: ZooKeeperServer
) -> None:
    """The shared servers are those of the environment, if they do what is needed."""
    said = _pytest(
        tmp_path,
        "def test_shared(shared_etcd, shared_zookeeper):\n"
        "    print('ports', shared_etcd.port, shared_zookeeper.port)\n"
        "    raise RuntimeError('on purpose')\n",
        LEADERSHIP_TEST_ETCD=etcd.url,
        LEADERSHIP_TEST_ZOOKEEPER=zookeeper.url,
    )

    assert f"ports {etcd.port} {zookeeper.port}\n" in said
    assert etcd.serves()
    assert zookeeper.serves()


def test_named_server_without_response_fails_the_run(tmp_path: Path) -> None:
    """A server that is named and cannot be used fails the run, with a message."""
    said = _pytest(
        tmp_path,
        "def test_one(shared_etcd):\n    pass\n\ndef test_other(shared_zookeeper):\n    pass\n",
        LEADERSHIP_TEST_ETCD=f"etcd://127.0.0.1:{free_port()}",
        LEADERSHIP_TEST_ZOOKEEPER=f"zk://127.0.0.1:{free_port()}",
    )

    assert "LEADERSHIP_TEST_ETCD: 127.0.0.1:" in said
    assert "LEADERSHIP_TEST_ZOOKEEPER: 127.0.0.1:" in said
    assert "2 errors" in said
