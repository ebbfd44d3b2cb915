"""Programs patched by gevent, where threads are greenlets of one real thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from leadership_core import open_store
from leadership_core.errors import ConfigurationError
from tests.support.paths import python_path

_PROGRAM = Path(__file__).parent / "gevent_program.py"


@pytest.mark.parametrize(
    "kind", ["memory", "sqlite", "consul", "etcd", "zookeeper", "postgres", "redis"]
)
def test_election_works_in_process_patched_by_gevent(
    kind: str, request: pytest.FixtureRequest, unique_key: str
) -> None:
    """Its term outlasts one ttl while other greenlets run, and is released."""
    url = "memory://" if kind == "memory" else request.getfixturevalue("target").url
    done = subprocess.run(
        [sys.executable, str(_PROGRAM), url, unique_key, "4"],
        env={**os.environ, **python_path()},
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("scheme", ["etcd", "zk", "zookeeper"])
def test_store_is_refused_under_eventlet_patches(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stub replaces eventlet, which is deprecated; the library only asks it what is patched."""
    patcher = ModuleType("eventlet.patcher")
    monkeypatch.setattr(patcher, "is_monkey_patched", lambda name: name == "thread", raising=False)
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    with pytest.raises(ConfigurationError, match=f"^{scheme}:// does not work .* eventlet"):
        open_store(f"{scheme}://127.0.0.1:1")


def test_store_opens_with_eventlet_loaded_but_unpatched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An import alone changes nothing."""
    patcher = ModuleType("eventlet.patcher")
    monkeypatch.setattr(patcher, "is_monkey_patched", lambda _: False, raising=False)
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    open_store("etcd://127.0.0.1:1").close()
