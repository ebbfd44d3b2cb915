"""Prometheus metrics of elections: who leads, how safely, and how the store answers.

    import leadership_prometheus

    leadership_prometheus.install()      # adds the metrics to prometheus_client.REGISTRY

The program serves them as it serves its others, for example by `prometheus_client.start_http_server`. The
labels are `key`, the election's key, and `store`, the scheme of the store's URL. Values of candidates are
in no label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from leadership_core import LostReason
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
    from prometheus_client.metrics_core import Metric

    from leadership_core import Closable

__all__ = ["Observer", "install"]

_COUNTED = {"elected", "resigned", "suspended", "resumed", "lost"}
_REASONS = (_COUNTED - {"lost"}) | {str(reason) for reason in LostReason}
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LATE = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ACQUIRE = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400)

_ELECTION: Final = ("key", "store")


def install(registry: CollectorRegistry = REGISTRY) -> Closable:
    """Add the metrics to a registry, and observe from now on, until the result is closed.

    Args:
        registry: of prometheus_client.

    Raises:
        ValueError: the registry has these metrics already.
    """
    observer = Observer()
    registry.register(observer)
    return _Installed(registry, observer, observe(observer))


@dataclass(frozen=True, slots=True)
class _Installed:
    registry: CollectorRegistry
    observer: Observer
    handle: Closable

    def close(self) -> None:
        """End the observation, and remove the metrics from the registry; may be called repeatedly."""
        self.handle.close()
        try:
            self.registry.unregister(self.observer)
        except KeyError:
            return


class Observer:
    """An observer and a collector of prometheus_client; `install` registers it as both.

    Whether a candidate leads, and for how long, is computed from the clock at each scrape: a process that
    was paused for longer than its lease does not show that it leads.

    Args:
        most_keys: how many elections have labels of their own; the others share the key "/other".
            Acquisitions of locks share the key "/locks", as programs may have any number of them.
    """

    def __init__(self, *, most_keys: int = 1000) -> None:
        self._live = LiveElections(most_keys)
        self._counted: set[tuple[str, str]] = set()  # elections whose counters exist
        self._renewing: set[str] = set()  # stores whose counters exist
        self._transitions = Counter(
            "leadership_transitions_total",
            "Events of candidates: elected, resigned, suspended, resumed, or why a term was lost.",
            (*_ELECTION, "reason"),
            registry=None,
        )
        self._acquire = Histogram(
            "leadership_acquire_seconds",
            "Seconds from the beginning of a campaign to the election.",
            _ELECTION,
            buckets=_ACQUIRE,
            registry=None,
        )
        self._leader_changes = Counter(
            "leadership_leader_changes_total",
            "Changes of the leader that followers of this process have seen.",
            _ELECTION,
            registry=None,
        )
        self._renewals = Counter(
            "leadership_renew_total",
            "Renewals of sessions, by their outcome.",
            ("store", "result"),
            registry=None,
        )
        self._renew_seconds = Histogram(
            "leadership_renew_seconds",
            "Seconds from sending a renewal to its outcome.",
            ("store",),
            buckets=_QUICK,
            registry=None,
        )
        self._late = Histogram(
            "leadership_late_wakeup_seconds",
            "Seconds by which the thread that renews woke too late: a busy or stopped process.",
            ("store",),
            buckets=_LATE,
            registry=None,
        )
        self._requests = Counter(
            "leadership_store_requests_total",
            "Requests to the store, of the program and of the library.",
            ("store", "op", "result"),
            registry=None,
        )
        self._request_seconds = Histogram(
            "leadership_store_request_seconds",
            "Seconds that requests to the store took.",
            ("store", "op"),
            buckets=_QUICK,
            registry=None,
        )
        self._watch_restarts = Counter(
            "leadership_watch_restarts_total",
            "Watches that have failed and report again.",
            ("store", "watch"),
            registry=None,
        )
        self._dropped = Counter(
            "leadership_records_dropped_total",
            "Records that are missing in these metrics, because observers were too slow.",
            registry=None,
        )

    # -- records ---------------------------------------------------------------------------

    @hookimpl
    def leadership_observe(self, record: Record) -> None:
        """Take note of a record."""
        self._live.note(record)
        match record:
            case CandidateTransition():
                self._on_candidate(record)
            case FollowerTransition(event="leader_changed", present=False):
                self._leader_changes.labels(self._live.label(record.key), record.kind).inc()
            case Renewal():
                for outcome in () if record.kind in self._renewing else Outcome:
                    self._renewals.labels(record.kind, outcome.value)
                self._renewing.add(record.kind)
                self._renewals.labels(record.kind, record.outcome.value).inc()
                self._renew_seconds.labels(record.kind).observe(record.seconds)
                self._late.labels(record.kind).observe(record.late)
            case Request():
                self._requests.labels(record.kind, record.operation, record.outcome.value).inc()
                self._request_seconds.labels(record.kind, record.operation).observe(record.seconds)
            case WatchRestarted():
                self._watch_restarts.labels(record.kind, record.watch).inc()
            case RecordsDropped():
                self._dropped.inc(record.count)
            case _:
                pass

    def _on_candidate(self, record: CandidateTransition) -> None:
        labels = self._live.label(record.key, lock=record.lock), record.kind
        if labels not in self._counted:
            self._counted.add(labels)
            for reason in _REASONS:  # from 0 on: `increase()` misses the first value of a series
                self._transitions.labels(*labels, reason)
        if record.present:
            return  # it happened before the observation began
        if record.event == "elected" and record.seconds is not None:
            self._acquire.labels(*labels).observe(record.seconds)
        if record.event in _COUNTED:
            self._transitions.labels(*labels, record.reason or record.event).inc()

    # -- scrapes -----------------------------------------------------------------------------

    def describe(self) -> Iterable[Metric]:
        """Name all metrics, so that a registry finds duplicates."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Compute all metrics as they are at this moment."""
        yield from self._gauges()
        for metric in (
            *(self._transitions, self._acquire, self._leader_changes, self._renewals),
            *(self._renew_seconds, self._late, self._requests, self._request_seconds),
            *(self._watch_restarts, self._dropped),
        ):
            yield from metric.collect()

    def _gauges(self) -> Iterator[Metric]:
        leads = GaugeMetricFamily(
            "leadership_is_leader",
            "1 if a candidate of this process leads at this moment, else 0.",
            labels=_ELECTION,
        )
        remaining = GaugeMetricFamily(
            "leadership_lease_remaining_seconds",
            "Seconds for which the leader leads even if the store never answers again; 0 without one.",
            labels=_ELECTION,
        )
        token = GaugeMetricFamily(
            "leadership_term_token",
            "Fencing token of the present term; 0 without one.",
            labels=_ELECTION,
        )
        ttl = GaugeMetricFamily(
            "leadership_ttl_seconds", "The ttl that the candidate asks for.", labels=_ELECTION
        )
        suspended = CounterMetricFamily(
            "leadership_suspended_seconds_total",
            "Seconds for which a leader has led while its renewals were unanswered.",
            labels=_ELECTION,
        )
        margin = GaugeMetricFamily(
            "leadership_min_margin_seconds",
            "The least that was left of a lease when a renewal ended, in the last five minutes.",
            labels=("store",),
        )
        for one in self._live.elections():
            labels = (one.key, one.kind)
            leads.add_metric(labels, float(one.is_leader))
            remaining.add_metric(labels, one.remaining)
            token.add_metric(labels, one.token)
            ttl.add_metric(labels, one.ttl)
        for labels, seconds in self._live.suspended_seconds().items():
            suspended.add_metric(labels, seconds)
        for store, least in self._live.least_margins().items():
            margin.add_metric((store,), least)
        yield from (leads, remaining, token, ttl, suspended, margin)
