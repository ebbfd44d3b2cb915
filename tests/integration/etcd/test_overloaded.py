"""An overloaded etcd, which rejects requests before it processes them."""

from __future__ import annotations

from contextlib import closing

import pytest

from leadership_core.backend.deadline import call_timeout
from leadership_core.errors import NotApplied
from tests.integration.etcd.conftest import Opener
from tests.support.overload import OverloadedEtcd
from tests.support.servers.etcd import Etcd


def test_enter_rejected_by_overloaded_server_is_not_applied(
    shared_etcd: Etcd, opened: Opener, unique_key: str
) -> None:
    """There is no orphaned claim, and the same session may enter again at once."""
    with closing(OverloadedEtcd(shared_etcd.port)) as front:
        store = opened(shared_etcd.url_at(front.port))
        session, election = store.open_session(60), store.election(unique_key)
        front.begin()
        with call_timeout(1.0), pytest.raises(NotApplied):
            election.enter(session, b"Frank")

        front.end()
        assert election.enter(session, b"Frank").granted
        session.close()
        store.close()
