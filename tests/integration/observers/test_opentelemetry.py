"""OpenTelemetry spans and metrics, collected by the exporters of its SDK that keep them in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import leadership_opentelemetry
from leadership_core import (
    ABSENT,
    Candidate,
    Closable,
    Conflict,
    Store,
    StoreUnavailable,
    open_store,
)
from leadership_core.backend.observation import hub
from tests.support.paths import ROOT
from tests.support.waiting import at_most, wait_until
from tests.unit.faulty import Fault, FaultyStore


class Telemetry:
    """A tracer provider, a meter provider, and what they have collected."""

    def __init__(self) -> None:
        self.spans_kept = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans_kept))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.handle: Closable = leadership_opentelemetry.install(self.tracers, self.meters)

    def spans(self, name: str) -> list[ReadableSpan]:
        """The finished spans of that name."""
        assert hub.flush(at_most(5))
        return [span for span in self.spans_kept.get_finished_spans() if span.name == name]

    def points(self, name: str) -> list[Any]:
        """The data points of an instrument at this moment."""
        assert hub.flush(at_most(5))
        collected = self.reader.get_metrics_data()
        return [
            point
            for resource in ([] if collected is None else collected.resource_metrics)
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def value(self, name: str, **attributes: str) -> float | None:
        """The value of the one point with these attributes; None if there is none."""
        wanted = {f"leadership.{key}": value for key, value in attributes.items()}.items()
        found = [point for point in self.points(name) if wanted <= point.attributes.items()]
        assert len(found) <= 1
        value: float | None = found[0].value if found else None
        return value


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Providers that the observer reports to."""
    made = Telemetry()
    yield made
    made.handle.close()
    made.tracers.shutdown()
    made.meters.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in a file."""
    with open_store(f"sqlite:///{tmp_path}/elections.db") as opened:
        yield opened


def test_campaign_and_term_are_spans(store: Store, telemetry: Telemetry) -> None:
    """The term is linked to its campaign, and has its times, token and value."""
    candidate = Candidate(store, "service/api", "node-1", ttl=3)
    term = candidate.wait_elected(5)
    assert term is not None
    candidate.stop()

    (campaign,) = telemetry.spans("leadership campaign")
    (led,) = telemetry.spans("leadership term")
    assert campaign.end_time is not None
    assert led.start_time is not None
    assert abs(campaign.end_time - led.start_time) < 50_000_000
    assert led.attributes is not None
    assert led.attributes["leadership.key"] == "service/api"
    assert led.attributes["leadership.value"] == "node-1"
    assert led.attributes["leadership.token"] == term.token
    assert led.attributes["leadership.reason"] == "resigned"
    assert led.status.status_code is StatusCode.UNSET
    assert [link.context.span_id for link in led.links] == [campaign.context.span_id]
    assert led.parent is campaign.parent is None


def test_request_of_the_program_is_below_its_span(store: Store, telemetry: Telemetry) -> None:
    """The context is that of the thread that has made the request."""
    with telemetry.tracers.get_tracer("program").start_as_current_span("job") as job:
        store.put("key", b"1")
        with pytest.raises(Conflict):
            store.put("key", b"2", expect=ABSENT)

    first, second = telemetry.spans("leadership put")
    for span in (first, second):
        assert span.parent is not None
        assert span.parent.span_id == job.get_span_context().span_id
        assert span.kind is SpanKind.CLIENT
        assert span.status.status_code is StatusCode.UNSET
    assert first.attributes is not None
    assert first.attributes["leadership.key"] == "key"
    assert second.attributes is not None
    assert second.attributes["leadership.result"] == "conflict"


def test_requests_of_the_library_are_linked_to_the_campaign(
    store: Store, telemetry: Telemetry
) -> None:
    """They have no parent, since a term may last for weeks."""
    assert Candidate(store, "service/api", "node-1", ttl=3).wait_elected(5)

    (entered,) = telemetry.spans("leadership enter")
    (campaign,) = telemetry.spans("leadership campaign")
    assert entered.parent is None
    assert [link.context.span_id for link in entered.links] == [campaign.context.span_id]


def test_lost_term_is_an_error(telemetry: Telemetry) -> None:
    """With the suspension as an event of the span, and failed renewals as spans with an error."""
    faulty = FaultyStore()
    with faulty.opened() as opened:
        term = Candidate(opened, "service/api", "node-1", ttl=1.5).wait_elected(5)
        assert term is not None
        faulty.inject(Fault.UNAVAILABLE)
        assert term.wait_lost(at_most(5))
        wait_until(lambda: telemetry.spans("leadership term"))
        with pytest.raises(StoreUnavailable):
            opened.get("key")
        faulty.heal()

    (led,) = telemetry.spans("leadership term")
    assert led.status.status_code is StatusCode.ERROR
    assert led.status.description == "lost: expired"
    assert "suspended" in [event.name for event in led.events]
    (read,) = telemetry.spans("leadership get")
    assert read.status.status_code is StatusCode.ERROR


def test_metrics_have_the_meaning_of_those_for_prometheus(
    store: Store, telemetry: Telemetry
) -> None:
    """Gauges are computed when they are collected."""
    candidate = Candidate(store, "service/api", "node-1", ttl=1.5)
    term = candidate.wait_elected(5)
    assert term is not None
    wait_until(lambda: (telemetry.value("leadership.renew", result="ok") or 0) >= 2)
    leads = telemetry.value("leadership.is_leader", key="service/api", store="sqlite")
    left = telemetry.value("leadership.lease_remaining_seconds", key="service/api")
    token = telemetry.value("leadership.term_token", key="service/api")
    margin = telemetry.value("leadership.min_margin_seconds", store="sqlite")
    candidate.resign(cooldown=600)

    assert leads == 1
    assert left is not None
    assert 0 < left < 1.5
    assert token == term.token
    assert margin is not None
    assert 0 < margin < 1.5
    assert telemetry.value("leadership.ttl_seconds", key="service/api") == 1.5
    assert telemetry.value("leadership.is_leader", key="service/api") == 0
    assert telemetry.value("leadership.transitions", reason="elected") == 1
    assert telemetry.value("leadership.transitions", reason="resigned") == 1
    assert telemetry.value("leadership.suspended_seconds", key="service/api") == 0
    assert [point.count for point in telemetry.points("leadership.acquire_seconds")] == [1]
    assert telemetry.points("leadership.store_request_seconds")


def test_closed_observer_ends_its_spans(store: Store, telemetry: Telemetry) -> None:
    """And shows no election that it does not observe any more."""
    assert Candidate(store, "service/api", "node-1", ttl=3).wait_elected(5)
    telemetry.handle.close()
    telemetry.handle.close()

    assert len(telemetry.spans("leadership term")) == 1
    assert telemetry.points("leadership.is_leader") == []


def test_without_an_sdk_nothing_is_reported_and_nothing_fails() -> None:
    """The API alone is enough; it imports no SDK."""
    script = """
import sys, leadership_opentelemetry
from leadership_core import Candidate, open_store
from leadership_core.backend.observation import hub

handle = leadership_opentelemetry.install()
with open_store("memory://a") as store:
    with Candidate(store, "key", "value", ttl=3).leading(5):
        store.put("a", b"b")
    assert hub.flush(10)
handle.close()
print(any(name.startswith("opentelemetry.sdk") for name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, capture_output=True, text=True, timeout=at_most(20), check=True,
    )  # fmt: skip

    assert done.stdout.split() == ["False"]
    assert done.stderr == ""
