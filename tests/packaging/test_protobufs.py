"""The etcd store with every major version of protobuf since 3.20."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.environment import Environment
from tests.support.servers.etcd import Etcd

pytestmark = [pytest.mark.build, pytest.mark.timeout(300)]

_SCRIPT = """
import warnings
warnings.simplefilter({warnings!r})

import threading
from leadership_core import Candidate, Fenced, Follower, open_store

url, key = {url!r}, {key!r}
with open_store(url) as store, open_store(url) as other:
    import google.protobuf
    print("protobuf", google.protobuf.__version__)

    there, gone = threading.Event(), threading.Event()
    def on_change(entry):
        (gone if entry is None else there).set()
    watch = store.watch(key + "-data", on_change)
    assert gone.wait(5)
    gone.clear()
    session = store.open_session(1.0)
    store.put(key + "-data", b"\\x00\\xff", session=session)
    assert there.wait(5)
    assert store.get(key + "-data").value == b"\\x00\\xff"
    assert session.renew() > 0
    session.close()
    assert gone.wait(5)
    watch.close()
    print("watched")

    ann = Candidate(store, key, "ann", ttl=2.0)
    term = ann.wait_elected(5)
    assert term is not None
    store.put(key + "-data", b"1", fence=term)
    ben = Candidate(other, key, "ben", ttl=2.0)
    assert ben.wait_elected(0.5) is None
    assert Follower(other, key).wait_leader(5).value == "ann"
    assert ann.resign(cooldown=5)
    after = ben.wait_elected(5)
    assert after is not None and after.token > term.token
    try:
        store.put(key + "-data", b"2", fence=term.fence)
    except Fenced:
        print("fenced")
print("closed")
"""


@pytest.mark.parametrize("wanted", ["==3.20.*", ">=4,<5", ">=5,<6", ">=6,<7", ">=7"])
def test_etcd_store_works_with_protobuf(
    wanted: str, shared_etcd: Etcd, unique_key: str, tmp_path: Path
) -> None:
    """An election, a watch, a lease and a fenced write, with that protobuf and no other."""
    environment = Environment(tmp_path / "venv")
    environment.fetch(f"protobuf{wanted}")

    # With 3.20 python-etcd3's own code runs, which protobuf reports as deprecated.
    warnings = "default" if "3.20" in wanted else "error"
    script = _SCRIPT.format(url=shared_etcd.url, key=unique_key, warnings=warnings)
    printed = environment.run(script).splitlines()

    assert (
        printed[0]
        .removeprefix("protobuf ")
        .startswith(wanted.lstrip(">=").split(",")[0].rstrip("*"))
    )
    assert printed[1:] == ["watched", "fenced", "closed"]
