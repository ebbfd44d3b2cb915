"""`leadership explain`: prints what a ttl means on this store, in seconds."""

from __future__ import annotations

from ..engine.store_base import internals
from ..engine.timing import safety_margin
from ..store import open_store
from . import output
from .arguments import Arguments
from .opening import call_with_timeout, probe_ttl
from .timing_estimate import TimingEstimate, estimate_timing

__all__ = ["explain"]

_LEAST_REQUEST = 0.01  # seconds; a busy machine is not reliably faster


def explain(arguments: Arguments) -> int:
    """Print what a ttl means on the store; returns the exit code."""
    assert arguments.url is not None
    store = open_store(arguments.url)
    try:
        least_margin = internals(store).engine.least_margin
        safety_margin(arguments.ttl, arguments.margin, least_margin)  # before the first request
        granted_ttl, request = call_with_timeout(
            store, arguments.timeout, lambda: probe_ttl(store, arguments.ttl), retry=True
        )
        estimate = estimate_timing(
            arguments.ttl,
            granted_ttl,
            margin=arguments.margin,
            least_margin=least_margin,
            expires_within=store.expires_within(granted_ttl),
            request=max(_LEAST_REQUEST, 2 * request),
        )
    finally:
        store.close(0.2)
    if arguments.json:
        from dataclasses import asdict

        fields = {name: round(seconds, 3) for name, seconds in asdict(estimate).items()}
        output.print_record(url=store.url, **fields)
        return 0
    output.print_line(f"{store.url} with a ttl of {estimate.requested_ttl:g} s, in seconds:")
    for heading, lines in _paragraphs(estimate):
        output.print_line(f"\n{heading}")
        for seconds, meaning in lines:
            output.print_line(f"{seconds:9.2f}  {meaning}")
    return 0


def _paragraphs(it: TimingEstimate) -> list[tuple[str, list[tuple[float, str]]]]:
    return [
        (
            "Lease",
            [
                (it.granted_ttl, "ttl granted by the store"),
                (it.renewal_latest, "time between two renewals, at most"),
                (it.margin, "margin: a leader stops leading this long before its lease ends"),
                (it.leads_until, "a leader leads no longer than this after it sent a renewal"),
            ],
        ),
        (
            f"Outage of the store, or of the network (requests take up to {it.request:.2f})",
            [
                (it.outage_tolerated, "tolerated (guaranteed): the leader stays leader"),
                (it.outage_tolerated_at_best, "tolerated if it begins right after a renewal"),
            ],
        ),
        (
            "Time until the next leader",
            [
                (it.crash_latest, "after a crash of the leader, at most"),
                (it.crash_earliest, "after a crash of the leader, at least"),
                (it.resign, "after the leader resigns or stops, about: no lease has to expire"),
            ],
        ),
        (
            "Leader cut off from the store",
            [
                (it.partition_leads_until, "until it stops leading, at most"),
                (it.partition_next_leader, "until another one can be elected, at most"),
            ],
        ),
    ]
