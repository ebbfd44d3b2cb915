"""Observers: what a program gets to know about its elections and requests, as records.

A module or an object with the hook `leadership_observe(record)` is registered by `observe`:

    from leadership_core.observers import CandidateTransition, hookimpl, observe

    class Log:
        @hookimpl
        def leadership_observe(self, record):
            match record:
                case CandidateTransition(event="lost", key=key, reason=reason):
                    print(key, reason)

    handle = observe(Log())

`leadership_prometheus` and `leadership_opentelemetry` are such observers.
"""

from __future__ import annotations

from .backend.hooks import hookimpl
from .backend.live_elections import ElectionState, LiveElections
from .backend.observation import observe
from .backend.records import (
    CandidateTransition,
    FollowerTransition,
    ObservedTerm,
    Outcome,
    Record,
    RecordsDropped,
    Renewal,
    Request,
    WatchRestarted,
)

__all__ = [
    "CandidateTransition",
    "ElectionState",
    "FollowerTransition",
    "LiveElections",
    "ObservedTerm",
    "Outcome",
    "Record",
    "RecordsDropped",
    "Renewal",
    "Request",
    "WatchRestarted",
    "hookimpl",
    "observe",
]
