"""Ten thousand elections in one process: threads, memory, and the processor afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import python_path
from tests.system.conftest import OwnServer

pytestmark = pytest.mark.soak

_PROGRAM = """
import sys, time
from pathlib import Path
from leadership_core import Candidate, open_store

def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

def threads():
    return len(list(Path("/proc/self/task").iterdir()))

url, count = sys.argv[1], int(sys.argv[2])
with open_store(url) as store:
    store.get("imports/everything")
before = pages()
store = open_store(url)
candidates = [Candidate(store, f"jobs/{n}/leader", f"host {n}", ttl=30) for n in range(count)]
for candidate in candidates:
    candidate.start()
most, pending, until = 0, candidates, time.monotonic() + 300
while pending and time.monotonic() < until:
    pending = [one for one in pending if not one.is_leader]
    most = max(most, threads())
    time.sleep(0.1)
time.sleep(20)
spent = time.process_time()
time.sleep(10)
share = (time.process_time() - spent) / 10
lost = sum(not one.is_leader for one in candidates)
print(len(pending), lost, most, (pages() - before) * 4096 // count, share)
import os
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["memory", "sqlite", "etcd"])
def test_ten_thousand_elections_are_held_on_few_threads(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """All are elected and stay so, on 20 threads, with 12 KB each, and 5 % of a core afterwards."""
    if kind == "memory":
        url = "memory://"
    elif kind == "sqlite":
        url = f"sqlite:///{tmp_path}/many.db"
    else:
        own_server: OwnServer = request.getfixturevalue("own_server")
        url = own_server().url
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, url, "10000"],
        env={**os.environ, **python_path()},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    unelected, lost, threads, size, share = map(float, ended.stdout.split())
    assert (unelected, lost) == (0, 0)
    assert threads <= 20
    assert size <= 12_000
    assert share <= 0.05
