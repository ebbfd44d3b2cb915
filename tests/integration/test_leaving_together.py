"""Stores with many claims that are closed: their session is closed in place of the last withdrawals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from leadership_core import Candidate, open_store
from leadership_core.engine import engine
from leadership_core.engine.executors import WorkerPool
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import wait_until


@pytest.mark.parametrize("kind", ["sqlite", "consul", "etcd", "zookeeper"])
def test_claims_of_a_closed_session_are_free_at_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No withdrawal is made, and the candidates of another process all lead, long before a ttl."""
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/a.db"
    else:
        name = "consul" if kind == "consul" else f"shared_{kind}"
        server: Consul | Etcd | ZooKeeper = request.getfixturevalue(name)
        url = server.url
    monkeypatch.setattr(engine, "_LEAVING_SECONDS", 0.02)
    keys = [f"leaving-together/{number}" for number in range(20)]
    with open_store(url) as others, open_store(url) as leaving:
        first, second = (
            [Candidate(store, key, "me", ttl=60) for key in keys] for store in (leaving, others)
        )
        for candidates, leads in ((first, True), (second, False)):
            for candidate in candidates:
                candidate.run_for_election()
            wait_until(lambda: all(one.is_leader for one in first), 30, "the first lead")
            for candidate in candidates:
                assert (candidate.wait_elected(0) is not None) is leads
        submit = WorkerPool.submit

        def without_withdrawals(self: WorkerPool, job: Callable[[], None]) -> None:
            if not getattr(job, "__qualname__", "").startswith("CandidateRequests.withdraw."):
                submit(self, job)
            else:
                dropped.append(job)

        dropped: list[object] = []
        with monkeypatch.context() as patched:
            patched.setattr(WorkerPool, "submit", without_withdrawals)
            assert leaving.close(30)
            assert len(dropped) == 20
        wait_until(lambda: all(one.is_leader for one in second), 30, "the second lead")
