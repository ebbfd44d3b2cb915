"""Observers that fail, their registration and their queue."""

from __future__ import annotations

import logging
import threading

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    Store,
    observe,
    open_store,
)
from leadership_core.backend import observation
from leadership_core.backend.observation import hub
from leadership_core.observers import (
    CandidateTransition,
    Record,
    RecordsDropped,
    Request,
    hookimpl,
)
from tests.support.waiting import at_most, eventually
from tests.unit.record_keeper import RecordKeeper

# -- observers that fail -----------------------------------------------------------------------


class _Broken:
    @hookimpl
    def leadership_observe(self, record: Record) -> None:
        raise LookupError("of the observer")


def test_observer_that_raises_disturbs_no_other(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged once for each kind, and not for each record."""
    recorder, handles = RecordKeeper(), [observe(_Broken())]
    handles.append(observe(recorder))
    for _ in range(100):
        store.get("key")
    assert len(recorder.of(Request)) == 100
    for handle in handles:
        handle.close()

    (logged,) = [one for one in caplog.records if one.name == "leadership.observers"]
    assert logged.levelno == logging.ERROR
    assert logged.exc_info is not None
    assert logged.exc_info[0] is LookupError


class _Hanging:
    """An observer that hangs until it is released."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        self.records: list[Record] = []

    @hookimpl
    def leadership_observe(self, record: Record) -> None:
        self.entered.set()
        self.released.wait(at_most(30))
        self.records.append(record)


def test_observer_that_hangs_holds_up_no_renewal(store: Store) -> None:
    """The leader leads for several ttls, resigns and is elected again."""
    observer = _Hanging()
    handle = observe(observer)
    candidate = Candidate(store, "key", "value", ttl=1)
    term = candidate.wait_elected(at_most(5))
    assert term is not None
    assert observer.entered.wait(at_most(5))
    assert not term.wait_lost(2.5)
    assert candidate.resign()
    assert candidate.wait_elected(at_most(5))
    observer.released.set()
    handle.close()

    assert observer.records[0].at < observer.records[-1].at


def test_full_queue_drops_records_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests are dropped before transitions, counted, and logged once."""
    monkeypatch.setattr(observation, "_MOST_QUEUED", 50)
    observer = _Hanging()
    handle = observe(observer)
    with open_store("memory://full-queue") as store:
        store.get("key")
        assert observer.entered.wait(at_most(5))
        for _ in range(200):
            store.get("key")
        candidate = Candidate(store, "key", "value", ttl=3)
        assert candidate.wait_elected(5)
    observer.released.set()
    handle.close()

    kinds = [type(one) for one in observer.records]
    assert kinds.count(Request) == 51
    assert kinds.count(CandidateTransition) == 4
    dropped = [one.count for one in observer.records if isinstance(one, RecordsDropped)]
    assert sum(dropped) >= 150
    assert [one.levelno for one in caplog.records if one.name == "leadership.observers"] == [
        logging.WARNING
    ]


def test_requests_of_an_observer_are_not_reported(store: Store) -> None:
    """Otherwise each record would lead to the next one."""
    records: list[Record] = []

    class Writes:
        @hookimpl
        def leadership_observe(self, record: Record) -> None:
            records.append(record)
            store.put("log", record.store.encode() if isinstance(record, Request) else b"")

    handle = observe(Writes())
    store.get("key")
    handle.close()

    assert store.get("log") is not None
    assert len(records) == 1


def test_report_that_fails_changes_nothing(
    store: Store, recorder: RecordKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when there is no memory for a record: requests, renewals and terms go on."""

    def fail(record: Record) -> None:
        raise MemoryError

    monkeypatch.setattr(hub, "report", fail)
    candidate = Candidate(store, "key", "value", ttl=1)
    term = candidate.wait_elected(at_most(5))
    assert term is not None
    assert store.put("other", b"1").value == b"1"
    assert not term.wait_lost(1.5)
    assert candidate.stop()

    assert recorder.records == []


# -- registration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plugin",
    [object(), type("Unmarked", (), {"leadership_observe": lambda self, record: None})(), None],
)
def test_what_has_no_hook_is_refused(plugin: object) -> None:
    """The message says what is missing."""
    with pytest.raises(ConfigurationError, match="hookimpl"):
        observe(plugin)

    assert not hub.active


def test_hook_with_a_wrong_argument_is_refused() -> None:
    """Its calls could only fail."""

    class Wrong:
        @hookimpl
        def leadership_observe(self, event: Record) -> None:
            pass

    with pytest.raises(ConfigurationError, match="event"):
        observe(Wrong())


def test_observer_is_registered_once(recorder: RecordKeeper) -> None:
    """Twice the same would count everything twice."""
    with pytest.raises(ConfigurationError, match="observes already"):
        observe(recorder)


def test_closed_observer_gets_what_was_queued_and_no_more(store: Store) -> None:
    """Its handle may be closed repeatedly, and the thread ends with the last observer."""
    first, second = RecordKeeper(), RecordKeeper()
    handles = [observe(first), observe(second)]
    for _ in range(500):
        store.get("key")
    handles[0].close()
    assert len(first.records) == 500
    store.get("key")
    handles[1].close()
    handles[1].close()
    store.get("key")

    assert len(first.records) == 500
    assert len(second.records) == 501
    assert not hub.active
    assert eventually(
        lambda: "leadership-observers" not in [one.name for one in threading.enumerate()]
    )


def test_observer_closes_itself(store: Store) -> None:
    """Inside the call, `close` does not wait for it."""
    records: list[Record] = []

    class Once:
        @hookimpl
        def leadership_observe(self, record: Record) -> None:
            records.append(record)
            handle.close()

    handle = observe(Once())
    store.get("key")
    store.get("key")

    assert eventually(lambda: records)
    assert not hub.active
    assert len(records) == 1
