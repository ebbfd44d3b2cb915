"""An etcd that has too much to do, and turns requests away before it looks at them."""

from __future__ import annotations

from contextlib import closing

import pytest

from leadership_core.budget import budget
from leadership_core.errors import NotDone
from tests.etcd.conftest import Opener
from tests.faults.overload import GRPCFront
from tests.servers.etcd import Etcd


def test_an_enter_that_is_turned_away_is_not_done(
    shared_etcd: Etcd, opened: Opener, unique_key: str
) -> None:
    """So there is no claim to look after, and the same session may enter again at once."""
    with closing(GRPCFront(shared_etcd.port)) as front:
        store = opened(shared_etcd.url_at(front.port))
        session, election = store.open_session(60), store.election(unique_key)
        front.begin()
        with budget(1.0), pytest.raises(NotDone):
            election.enter(session, b"Frank")

        front.end()
        assert election.enter(session, b"Frank").granted
        session.close()
        store.close()
