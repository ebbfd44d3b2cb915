"""A store behind PgBouncer in transaction mode."""

from __future__ import annotations

import logging

import pytest

from leadership_core import Candidate, Store, StoreRefused, open_store
from tests.support.servers.postgres import PgBouncer
from tests.support.waiting import at_most, wait_until


def test_hand_over_by_polling(pgbouncer: PgBouncer, caplog: pytest.LogCaptureFixture) -> None:
    """It works without LISTEN, and says once in the log that it polls."""
    caplog.set_level(logging.INFO, "leadership_postgres")
    with open_store(pgbouncer.url) as one, open_store(pgbouncer.url) as two:
        first, second = (
            Candidate(one, "pooled", "first", ttl=5),
            Candidate(two, "pooled", "second", ttl=5),
        )
        term = first.wait_elected(at_most(10))
        second.start()
        assert term is not None
        assert first.stop()
        later = second.wait_elected(at_most(3))
        assert later is not None
        assert later.token > term.token
        second.stop()

    told = [one for one in caplog.records if "without LISTEN" in one.getMessage()]
    assert len(told) == 2  # one for each store


def test_fenced_write_and_bound_entry(pgbouncer: PgBouncer) -> None:
    """Everything that is safe is set for each transaction."""
    with open_store(pgbouncer.url) as store:
        with Candidate(store, "pooled-2", "a", ttl=5) as candidate:
            term = candidate.wait_elected(at_most(10))
            assert term is not None
            store.put("pooled-data", b"1", fence=term)
        session = store.open_session(ttl=5)
        store.put("pooled-bound", b"1", session=session)
        session.close()
        assert store.get("pooled-bound") is None


def test_error_names_the_missing_pgbouncer_option(pgbouncer: PgBouncer) -> None:
    """PgBouncer refuses the settings with which a store begins its connections."""
    with (
        open_store(pgbouncer.url.partition("?")[0]) as store,
        pytest.raises(StoreRefused, match="this is PgBouncer: add pgbouncer=true to the URL"),
    ):
        store.get("k")


def test_change_of_another_process_is_reported(pgbouncer: PgBouncer) -> None:
    """Within the time of the option `poll`."""
    seen: list[object] = []

    def last() -> object:
        return getattr(seen[-1], "value", None) if seen else None

    with open_store(pgbouncer.url) as store, open_store(pgbouncer.url) as other:
        store.watch("pooled-3", seen.append)
        wait_until(lambda: seen, 5, "the present state")
        _write(other)
        wait_until(lambda: last() == b"1", 5, "the change")


def _write(store: Store) -> None:
    store.put("pooled-3", b"1")
