"""What the leader of an ensemble says that has not noticed yet that it leads nobody any more."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from kazoo import exceptions as zk

from leadership_core.budget import budget
from leadership_core.errors import SessionLost, StoreUnavailable
from leadership_zookeeper.confirmation import check_confirmation
from tests.servers.zookeeper_cluster import ZooKeeperCluster
from tests.zookeeper.conftest import Opener


@pytest.mark.parametrize("chroot", ["", "/that/is/missing"])
def test_a_leader_that_is_cut_off_acknowledges_no_renewal(
    chroot: str, zookeeper_cluster: ZooKeeperCluster, opened: Opener
) -> None:
    """It answers a `sync` for five ticks and more, while others lead and count sessions anew."""
    leader = zookeeper_cluster.leader()
    session = opened(leader.url_at(leader.port, chroot=chroot)).open_session(10.0)
    with budget(3.0):
        session.renew()

    zookeeper_cluster.cut_off(leader)

    with budget(1.0), pytest.raises(StoreUnavailable):
        session.renew()


@pytest.mark.parametrize(
    ("step", "raises"),
    [
        (True, None),
        (zk.NoNodeError(), None),
        (zk.NoAuthError(), None),
        (zk.SessionExpiredError(), SessionLost),
        (zk.SessionMovedError(), StoreUnavailable),
        (zk.RolledBackError(), StoreUnavailable),
    ],
    ids=lambda of: getattr(of, "__name__", type(of).__name__),
)
def test_what_a_transaction_says_of_its_session(
    step: object, raises: type[Exception] | None
) -> None:
    """The leader may know that a session has ended when its server does not: a step says so."""
    with pytest.raises(raises) if raises else nullcontext():
        check_confirmation([step], "renew the session")
