"""Log records of candidates and followers: their fields for machines, and their text."""

from __future__ import annotations

import logging

import pytest

from leadership_core import Candidate, Follower, Store
from tests.support.waiting import eventually, wait_until
from tests.unit.faulty import Fault, FaultyStore

_FIELDS = ("event", "key", "value", "token", "store")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: getattr(record, f"leadership_{name}") for name in _FIELDS}


def _outages(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    named = [(one, getattr(one, "leadership_event", None)) for one in caplog.records]
    return [record for record, event in named if event == "store_down"]


def test_each_event_of_a_candidate_has_all_fields(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The fields are the attributes of the log record."""
    caplog.set_level(logging.INFO, "leadership.candidate")
    candidate = Candidate(store, "service/api", "node-1", ttl=3)
    term = candidate.wait_elected(5)
    assert term is not None
    stream = candidate.events()
    candidate.stop()
    list(stream)  # its end comes after that of the records

    records = [one for one in caplog.records if one.name == "leadership.candidate"]
    reported = [_fields(record) for record in records]
    assert [one["event"] for one in reported] == ["campaigning", "elected", "resigned", "stopped"]
    assert [one["token"] for one in reported] == [None, term.token, term.token, None]
    for one, record in zip(reported, records, strict=True):
        assert (one["key"], one["value"], one["store"]) == ("service/api", "node-1", store.url)
        assert "node-1" in record.getMessage()
        assert store.url in record.getMessage()


def test_each_event_of_a_follower_has_all_fields(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The fields are the attributes of the log record."""
    caplog.set_level(logging.INFO, "leadership.follower")
    candidate = Candidate(store, "key", "node-1", ttl=3)
    term, follower = candidate.wait_elected(5), Follower(store, "key")
    assert term is not None
    assert follower.wait_leader(5)
    assert eventually(lambda: caplog.records)
    follower.stop()

    reported = [_fields(one) for one in caplog.records if one.name == "leadership.follower"]
    assert {
        "event": "leader_changed",
        "key": "key",
        "value": "node-1",
        "token": term.token,
        "store": store.url,
    } in reported


def test_refused_claim_is_a_warning(
    faulty: FaultyStore, opened: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A permission that is missing for the key alone is logged by its candidate, which no session does."""
    caplog.set_level(logging.INFO, "leadership")
    candidate = Candidate(opened, "key", "a", ttl=3)
    faulty.inject(Fault.REFUSED, "put_claim")
    candidate.start()
    wait_until(lambda: _outages(caplog), 10)
    refused = _outages(caplog)
    faulty.heal()
    assert candidate.wait_elected(10) is not None
    candidate.stop()

    assert [record.levelno for record in refused] == [logging.WARNING]
    assert "denied" in refused[0].getMessage()


def test_outage_is_one_warning(
    faulty: FaultyStore, opened: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The session warns of a store that is down, so its candidates do not."""
    caplog.set_level(logging.INFO, "leadership")
    faulty.inject(Fault.UNAVAILABLE, "open_session")
    candidates = [Candidate(opened, key, "a", ttl=3) for key in ("one", "two")]
    for candidate in candidates:
        candidate.start()
    wait_until(lambda: len(_outages(caplog)) == 2, 10)
    faulty.heal()
    for candidate in candidates:
        candidate.stop()

    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert [one.name for one in warnings] == ["leadership.session"]
