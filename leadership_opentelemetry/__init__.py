"""OpenTelemetry spans and metrics of elections: campaigns, terms, and requests to the store.

    import leadership_opentelemetry

    leadership_opentelemetry.install()      # reports to the providers that the program has configured

It depends on the API alone: without a configured SDK it reports nothing, and costs little. A request that the
program makes is a span below the span in which it makes it. The attributes of metrics are
`leadership.key` and `leadership.store`, the scheme of the store's URL; values of candidates are in spans only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context, metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from leadership_core.backend import clock
from leadership_core.observers import (
    CandidateTransition,
    FollowerTransition,
    LiveElections,
    Outcome,
    Record,
    RecordsDropped,
    Renewal,
    Request,
    WatchRestarted,
    hookimpl,
    observe,
)

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from leadership_core import Closable

__all__ = ["Observer", "install"]

_NAME = "leadership"
_COUNTED = {"elected", "resigned", "suspended", "resumed", "lost"}
_EXPECTED = {Outcome.OK, Outcome.CONFLICT, Outcome.FENCED}  # answers of a store that works


def install(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    request_spans: bool = True,
) -> Closable:
    """Report spans and metrics from now on, until the result is closed.

    Args:
        tracer_provider: None for the global one.
        meter_provider: None for the global one.
        request_spans: whether each request is a span.
    """
    observer = Observer(tracer_provider, meter_provider, request_spans=request_spans)
    return _Installed(observer, observe(observer))


@dataclass(frozen=True, slots=True)
class _Installed:
    observer: Observer
    handle: Closable

    def close(self) -> None:
        """End the observation and all open spans; may be called repeatedly."""
        self.handle.close()
        self.observer.close()


class Observer:
    """An observer that reports to the API of OpenTelemetry; `install` registers it.

    Args:
        tracer_provider: None for the global one.
        meter_provider: None for the global one.
        request_spans: whether each request is a span.
        most_keys: how many elections have a `leadership.key` of their own in metrics; the others share
            "/other". Acquisitions of locks share "/locks".
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        request_spans: bool = True,
        most_keys: int = 1000,
    ) -> None:
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        self._request_spans = request_spans
        self._live = LiveElections(most_keys)
        self._spans: dict[int, Span] = {}  # of the campaign or the term of each candidate
        self._latest: dict[tuple[str, str], Span] = {}  # the same, by store and key
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._transitions = meter.create_counter(
            "leadership.transitions",
            description="Events of candidates, or why a term was lost.",
        )
        self._acquire = meter.create_histogram(
            "leadership.acquire_seconds",
            unit="s",
            description="From the beginning of a campaign to the election.",
        )
        self._leader_changes = meter.create_counter(
            "leadership.leader_changes",
            description="Changes of the leader that followers have seen.",
        )
        self._renewals = meter.create_counter(
            "leadership.renew", description="Renewals of sessions, by their outcome."
        )
        self._renew_seconds = meter.create_histogram(
            "leadership.renew_seconds",
            unit="s",
            description="From sending a renewal to its outcome.",
        )
        self._late = meter.create_histogram(
            "leadership.late_wakeup_seconds",
            unit="s",
            description="By how much the thread that renews woke too late.",
        )
        self._requests = meter.create_counter(
            "leadership.store_requests", description="Requests to the store, by their outcome."
        )
        self._request_seconds = meter.create_histogram(
            "leadership.store_request_seconds",
            unit="s",
            description="How long requests to the store took.",
        )
        self._watch_restarts = meter.create_counter(
            "leadership.watch_restarts", description="Watches that have failed and report again."
        )
        self._dropped = meter.create_counter(
            "leadership.records_dropped",
            description="Records that are missing here, because observers were too slow.",
        )
        meter.create_observable_gauge(
            "leadership.is_leader",
            [self._is_leader],
            description="1 if a candidate of this process leads at this moment, else 0.",
        )
        meter.create_observable_gauge(
            "leadership.lease_remaining_seconds",
            [self._remaining],
            unit="s",
            description="For how long the leader leads even if the store never answers again.",
        )
        meter.create_observable_gauge(
            "leadership.term_token", [self._token], description="Fencing token of the present term."
        )
        meter.create_observable_gauge(
            "leadership.ttl_seconds",
            [self._ttl],
            unit="s",
            description="The ttl that the candidate asks for.",
        )
        meter.create_observable_counter(
            "leadership.suspended_seconds",
            [self._suspended],
            unit="s",
            description="For how long leaders have led while renewals were unanswered.",
        )
        meter.create_observable_gauge(
            "leadership.min_margin_seconds",
            [self._margin],
            unit="s",
            description="The least rest of a lease at the end of a renewal, in the last five minutes.",
        )

    @hookimpl
    def leadership_observe(self, record: Record) -> None:
        """Take note of a record."""
        self._live.note(record)
        match record:
            case CandidateTransition():
                self._on_candidate(record)
            case FollowerTransition(event="leader_changed", present=False):
                labels = _election(self._live.label(record.key), record.kind)
                self._leader_changes.add(1, labels)
            case Renewal():
                store = {"leadership.store": record.kind}
                self._renewals.add(1, {**store, "leadership.result": record.outcome.value})
                self._renew_seconds.record(record.seconds, store)
                self._late.record(record.late, store)
            case Request():
                self._on_request(record)
            case WatchRestarted():
                self._watch_restarts.add(
                    1, {"leadership.store": record.kind, "leadership.watch": record.watch}
                )
            case RecordsDropped():
                self._dropped.add(record.count)
            case _:
                pass

    def _on_candidate(self, record: CandidateTransition) -> None:
        labels = _election(self._live.label(record.key, lock=record.lock), record.kind)
        if not record.present:
            if record.event == "elected" and record.seconds is not None:
                self._acquire.record(record.seconds, labels)
            if record.event in _COUNTED:
                reason = record.reason or record.event
                self._transitions.add(1, {**labels, "leadership.reason": reason})
        span = self._spans.get(record.candidate)
        match record.event:
            case "campaigning":
                self._begin("leadership campaign", record)
            case "elected":
                self._end(record)
                self._begin("leadership term", record, span)
            case "lost" | "resigned" | "left" | "stopped":
                if span is not None and record.event == "lost":
                    span.set_status(Status(StatusCode.ERROR, f"lost: {record.reason}"))
                if span is not None and record.event in {"lost", "resigned"}:
                    span.set_attribute("leadership.reason", record.reason or record.event)
                self._end(record)
            case event:
                if span is not None:
                    span.add_event(event, timestamp=_wall(record.at))

    def _begin(self, name: str, record: CandidateTransition, before: Span | None = None) -> None:
        attributes: dict[str, AttributeValue] = {
            **_election(record.key, record.kind),
            "leadership.value": record.value,
            "leadership.url": record.store,
            "leadership.ttl": record.ttl,
        }
        if record.token is not None:
            attributes["leadership.token"] = record.token
        span = self._tracer.start_span(
            name,
            otel_context.Context(),  # no span is its parent
            attributes=attributes,
            links=() if before is None else (Link(before.get_span_context()),),
            start_time=_wall(record.at),
        )
        self._spans[record.candidate] = self._latest[record.store, record.key] = span

    def _end(self, record: CandidateTransition) -> None:
        span = self._spans.pop(record.candidate, None)
        if span is not None:
            span.end(_wall(record.at))
            if self._latest.get((record.store, record.key)) is span:
                del self._latest[record.store, record.key]

    def _on_request(self, record: Request) -> None:
        store = {"leadership.store": record.kind, "leadership.operation": record.operation}
        self._requests.add(1, {**store, "leadership.result": record.outcome.value})
        self._request_seconds.record(record.seconds, store)
        if not self._request_spans:
            return
        # A span of the program is the parent. The campaign or the term is only linked: a trace of a term
        # of weeks would have no end.
        parent = record.context.run(otel_context.get_current)
        related = self._latest.get((record.store, record.key or ""))
        links = () if related is None else (Link(related.get_span_context()),)
        attributes: dict[str, AttributeValue] = {
            **store,
            "leadership.result": record.outcome.value,
            "leadership.url": record.store,
        }
        if record.key is not None:
            attributes["leadership.key"] = record.key
        span = self._tracer.start_span(
            f"leadership {record.operation}",
            parent,
            SpanKind.CLIENT,
            attributes,
            links,
            _wall(record.at - record.seconds),
        )
        if record.outcome not in _EXPECTED:
            span.set_status(Status(StatusCode.ERROR, record.outcome.value))
        span.end(_wall(record.at))

    def close(self) -> None:
        """End all open spans, and show no election any more; nothing may be observed afterwards."""
        while self._spans:
            self._spans.popitem()[1].end()
        self._latest.clear()
        self._live = LiveElections()

    # -- callbacks of the meter ----------------------------------------------------------------

    def _is_leader(self, options: CallbackOptions) -> Iterable[Observation]:
        for one in self._live.elections():
            yield Observation(int(one.is_leader), _election(one.key, one.kind))

    def _remaining(self, options: CallbackOptions) -> Iterable[Observation]:
        for one in self._live.elections():
            yield Observation(one.remaining, _election(one.key, one.kind))

    def _token(self, options: CallbackOptions) -> Iterable[Observation]:
        for one in self._live.elections():
            yield Observation(one.token, _election(one.key, one.kind))

    def _ttl(self, options: CallbackOptions) -> Iterable[Observation]:
        for one in self._live.elections():
            yield Observation(one.ttl, _election(one.key, one.kind))

    def _suspended(self, options: CallbackOptions) -> Iterator[Observation]:
        for labels, seconds in self._live.suspended_seconds().items():
            yield Observation(seconds, _election(*labels))

    def _margin(self, options: CallbackOptions) -> Iterator[Observation]:
        for kind, least in self._live.least_margins().items():
            yield Observation(least, {"leadership.store": kind})


def _election(key: str, kind: str) -> dict[str, str]:
    return {"leadership.key": key, "leadership.store": kind}


def _wall(at: float) -> int:
    """The wall clock's time in nanoseconds at a time of the boot clock."""
    return time.time_ns() - int((clock.now() - at) * 1e9)
