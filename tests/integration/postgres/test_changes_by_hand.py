"""Changes that an operator makes in the tables with SQL, of which there is no notification."""

from __future__ import annotations

import pytest

from leadership_core import Candidate, open_store
from leadership_postgres import watch
from tests.support.servers.postgres import PostgresServer
from tests.support.waiting import at_most


def test_deleted_claim_is_noticed_by_the_next_read_of_everything(
    shared_postgres: PostgresServer, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is renewed on, so nothing else shows that the claim is gone."""
    monkeypatch.setattr(watch, "_CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(watch, "_FULL_INTERVAL", 0.5)
    with open_store(shared_postgres.url) as store:
        candidate = Candidate(store, unique_key, "node", ttl=30)
        term = candidate.wait_elected(at_most(10))
        assert term is not None

        shared_postgres.ask("DELETE FROM leadership.entry WHERE key = %s", f"{unique_key}/.claim")

        assert term.wait_lost(at_most(5))
        assert term.lost
        assert candidate.stop()
