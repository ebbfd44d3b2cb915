"""What the parts of one engine share: the store, its threads, and when the store answered last."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..backend.event_count import Flag
from ..backend.protocols import StoreBackend
from ..backend.time_source import TimeSource
from .executors import WorkerPool
from .instrumentation import ObservedStore
from .scheduler import Scheduler

__all__ = ["EngineContext"]


@dataclass(slots=True, eq=False)
class EngineContext:
    """Passed to sessions and candidates instead of the engine, which holds both.

    Attributes:
        backend: the store of a plugin.
        store: the same, as observers see it.
        time_source: the clock of leases and timers, and the waits that it ends.
        least_margin: seconds, the store's least margin.
        rng: for jitter.
        scheduler: runs all state machines and timers; its thread never blocks.
        requests: threads for requests.
        releases: threads for withdrawals, which must not wait behind other requests.
        closed: set once the engine is closed.
        has_worked: whether the store has answered at least once.
        answered_at: the time of the clock at which a renewal was acknowledged last, or the start.
    """

    backend: StoreBackend
    store: ObservedStore
    time_source: TimeSource
    least_margin: float
    rng: random.Random
    scheduler: Scheduler
    requests: WorkerPool
    releases: WorkerPool
    closed: Flag
    answered_at: float
    has_worked: bool = False
