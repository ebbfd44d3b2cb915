"""Programs that gevent has patched: threads are greenlets there, and share one real thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from leadership_core import open_store
from leadership_core.errors import ConfigurationError
from tests.scenarios.fleet import ROOT

_PROGRAM = Path(__file__).parent / "gevent_program.py"


@pytest.mark.parametrize("kind", ["memory", "sqlite", "consul", "etcd", "zookeeper"])
def test_election_works_in_a_process_that_gevent_has_patched(
    kind: str, request: pytest.FixtureRequest, unique_key: str
) -> None:
    """Elected, renewed past one ttl while other greenlets run, and resigned."""
    url = "memory://" if kind == "memory" else request.getfixturevalue("place").url
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(_PROGRAM), url, unique_key, "4"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("scheme", ["etcd", "zk", "zookeeper"])
def test_store_that_cannot_work_with_eventlet_is_refused(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its module stands in for the library, which is deprecated; its question is all that is asked."""
    patcher = ModuleType("eventlet.patcher")
    monkeypatch.setattr(patcher, "is_monkey_patched", lambda name: name == "thread", raising=False)
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    with pytest.raises(ConfigurationError, match=f"^{scheme}:// does not work .* eventlet"):
        open_store(f"{scheme}://127.0.0.1:1")


def test_store_opens_where_eventlet_is_loaded_and_has_patched_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patcher = ModuleType("eventlet.patcher")
    monkeypatch.setattr(patcher, "is_monkey_patched", lambda _: False, raising=False)
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    open_store("etcd://127.0.0.1:1").close()
