"""A member of a cluster that the others do not reach: its data may be old."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import Leading
from leadership_core.errors import StoreUnavailable
from tests.integration.etcd.conftest import Opener
from tests.support.servers.etcd_cluster import EtcdCluster


def test_isolated_member_answers_no_read(etcd_cluster: EtcdCluster, opened: Opener) -> None:
    """Neither a claim's status, nor the leader, nor an entry: they may have changed elsewhere."""
    follower = etcd_cluster.followers()[0]
    store = opened(follower.url)
    election, session = store.election("election"), store.open_session(60)
    claim = election.enter(session, b"Frank")
    store.put("k", b"1")
    assert election.status(claim) == Leading(claim.token or 0)
    questions: list[Callable[[], object]] = [
        lambda: election.status(claim),
        election.leader,
        lambda: store.get("k"),
        lambda: store.list("k"),
    ]

    etcd_cluster.cut_off(follower)

    for ask in questions:
        with call_timeout(0.7), pytest.raises(StoreUnavailable):
            ask()
    etcd_cluster.heal()
