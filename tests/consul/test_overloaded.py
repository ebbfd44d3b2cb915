"""A gateway before Consul that turns away whatever is too much."""

from __future__ import annotations

from contextlib import closing

import pytest

from leadership_core.budget import budget
from leadership_core.errors import NotDone
from tests.consul.conftest import Opener
from tests.faults.overload import HTTPFront
from tests.servers.consul import Consul


def test_an_enter_that_is_turned_away_is_not_done(
    consul: Consul, opened: Opener, unique_key: str
) -> None:
    """So there is no claim to look after, and the same session may enter again at once."""
    with closing(HTTPFront(consul.port)) as front:
        store = opened(consul.url_at(front.port))
        session, election = store.open_session(10), store.election(unique_key)
        front.begin()
        with budget(1.0), pytest.raises(NotDone):
            election.enter(session, b"Frank")

        front.end()
        assert election.enter(session, b"Frank").granted
        session.close()
        store.close()
