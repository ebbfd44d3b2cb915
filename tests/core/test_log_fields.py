"""The log records of candidates and followers: what machines read of them, and people."""

from __future__ import annotations

import logging

import pytest

from leadership_core import Candidate, Follower, StoreHandle
from tests.core.faulty import eventually

_FIELDS = ("event", "key", "value", "token", "store")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: getattr(record, f"leadership_{name}") for name in _FIELDS}


def test_each_event_of_a_candidate_has_all_fields(
    store: StoreHandle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "leadership.candidate")
    candidate = Candidate(store, "service/api", "node-1", ttl=3)
    term = candidate.wait_elected(5)
    assert term is not None
    story = candidate.events()
    candidate.stop()
    list(story)  # its end comes after that of the records

    records = [one for one in caplog.records if one.name == "leadership.candidate"]
    told = [_fields(record) for record in records]
    assert [one["event"] for one in told] == ["campaigning", "elected", "resigned", "stopped"]
    assert [one["token"] for one in told] == [None, term.token, term.token, None]
    for one, record in zip(told, records, strict=True):
        assert (one["key"], one["value"], one["store"]) == ("service/api", "node-1", store.url)
        assert "node-1" in record.getMessage()
        assert store.url in record.getMessage()


def test_each_event_of_a_follower_has_all_fields(
    store: StoreHandle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "leadership.follower")
    candidate = Candidate(store, "key", "node-1", ttl=3)
    term, follower = candidate.wait_elected(5), Follower(store, "key")
    assert term is not None
    assert follower.wait_leader(5)
    assert eventually(lambda: caplog.records)
    follower.stop()

    told = [_fields(one) for one in caplog.records if one.name == "leadership.follower"]
    assert {
        "event": "leader_changed",
        "key": "key",
        "value": "node-1",
        "token": term.token,
        "store": store.url,
    } in told
