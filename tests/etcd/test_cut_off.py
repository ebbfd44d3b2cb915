"""A member of a cluster that the others do not reach: it has data, and they may be old."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leadership_core.budget import budget
from leadership_core.errors import StoreUnavailable
from leadership_core.store import Leading
from tests.etcd.conftest import Opener
from tests.servers.etcd_cluster import EtcdCluster


def test_a_member_that_is_cut_off_says_nothing(etcd_cluster: EtcdCluster, opened: Opener) -> None:
    """Not whether a claim stands, nor who leads, nor what is there: others may have gone on."""
    follower = etcd_cluster.followers()[0]
    store = opened(follower.url)
    election, session = store.election("race"), store.open_session(60)
    claim = election.enter(session, b"Frank")
    store.put("k", b"1")
    assert election.standing(claim) == Leading(claim.token or 0)
    questions: list[Callable[[], object]] = [
        lambda: election.standing(claim),
        election.leader,
        lambda: store.get("k"),
        lambda: store.list("k"),
    ]

    etcd_cluster.cut_off(follower)

    for ask in questions:
        with budget(0.7), pytest.raises(StoreUnavailable):
            ask()
    etcd_cluster.heal()
