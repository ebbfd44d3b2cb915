"""Records of what candidates, followers, sessions and requests of this process have done.

Observers get them, one call for each: see `leadership_core.observers`.
"""

from __future__ import annotations

from contextvars import Context
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol, TypeAlias

__all__ = [
    "CandidateTransition",
    "FollowerTransition",
    "ObservedTerm",
    "Outcome",
    "Record",
    "RecordsDropped",
    "Renewal",
    "Request",
    "WatchRestarted",
]


class Outcome(StrEnum):
    """The outcome of a request or of a renewal."""

    OK = "ok"
    UNAVAILABLE = "unavailable"
    """No answer in time (`StoreUnavailable`); the request may have been applied."""
    NOT_APPLIED = "not_applied"
    """It certainly had no effect (`NotApplied`)."""
    SESSION_LOST = "session_lost"
    FENCED = "fenced"
    CONFLICT = "conflict"
    REFUSED = "refused"
    """The store or the library refuses it as configured (`StoreRefused`, `ConfigurationError`)."""
    ERROR = "error"
    """Any other exception: the store was closed, or a plugin has a bug."""


class ObservedTerm(Protocol):
    """What an observer may read of a term at any time: a `leadership_core.Term`."""

    @property
    def lost(self) -> bool:
        """Whether the term is over at this moment."""

    def remaining(self) -> float:
        """Seconds for which it is valid even if the store never answers again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """Base of all records.

    Attributes:
        at: the time of `leadership_core.backend.clock` at which it happened, or had ended.
    """

    droppable: ClassVar[bool] = False  # the first to go when the queue is full
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfStore(_Timed):
    """Base of the records that concern a store.

    Attributes:
        store: the URL of the store, with all secrets masked.
        kind: the scheme of the URL, without `+tls`.
    """

    store: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateTransition(_OfStore):
    """An event of a candidate, or of one acquisition of a lock.

    Attributes:
        at: the time of `leadership_core.backend.clock`.
        store: the URL of the store, with all secrets masked.
        kind: the scheme of the URL, without `+tls`.
        event: the name of the event in snake case: campaigning, elected, suspended, resumed, lost,
            resigned, store_down, store_up, stopped; or left: it has left the election, and may come
            back with campaigning.
        key: the election's key, without the prefix of the store's URL.
        value: the candidate's value.
        candidate: its number, unique in this process.
        lock: whether it is an acquisition of a `Lock`.
        ttl: seconds, as requested.
        token: the fencing token of the term; None outside one.
        reason: why the term was lost; None for all other events.
        seconds: from `campaigning` to `elected`; from `elected` to `suspended`, `lost` and
            `resigned`; from `suspended` to `resumed`; from `store_down` to `store_up`; else None.
        term: the term, at `elected` only. An observer that keeps it keeps a weak reference.
        present: whether it happened before the observer was registered, and describes the present
            state; `campaigning`, `elected` and `suspended` come so.
    """

    event: str
    key: str
    value: str
    candidate: int
    lock: bool
    ttl: float
    token: int | None = None
    reason: str | None = None
    seconds: float | None = None
    term: ObservedTerm | None = field(default=None, compare=False)
    present: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerTransition(_OfStore):
    """An event of a follower.

    Attributes:
        at: the time of `leadership_core.backend.clock`.
        store: the URL of the store, with all secrets masked.
        kind: the scheme of the URL, without `+tls`.
        event: the name of the event in snake case: leader_changed, store_down, store_up, stopped.
        key: the election's key, without the prefix of the store's URL.
        follower: its number, unique in this process.
        value: of the leader after `leader_changed`; None without a leader.
        token: of that leader.
        seconds: for which the previous leader, or none, was seen, at `leader_changed`; from
            `store_down` to `store_up`; else None.
        present: whether it happened before the observer was registered, and describes the present
            state; `leader_changed` comes so.
    """

    event: str
    key: str
    follower: int
    value: str | None = None
    token: int | None = None
    seconds: float | None = None
    present: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal(_OfStore):
    """One renewal of a session, which all candidates of one store with the same ttl share.

    Attributes:
        at: the time of `leadership_core.backend.clock` at its end.
        store: the URL of the store, with all secrets masked.
        kind: the scheme of the URL, without `+tls`.
        outcome: `Outcome.OK` if the store has acknowledged it; `Outcome.NOT_APPLIED` if it was not
            sent, because the lease had ended.
        seconds: from sending it to its outcome.
        ttl: seconds, the shorter of the requested and the granted ttl.
        remaining_before: seconds of the lease that were left when it was sent; 0 for the first one.
        remaining_after: seconds that are left with its outcome.
        late: seconds by which the thread that renews woke later than planned, because the process,
            its interpreter lock or the machine was busy or stopped.
    """

    droppable: ClassVar[bool] = True
    outcome: Outcome
    seconds: float
    ttl: float
    remaining_before: float
    remaining_after: float
    late: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(_OfStore):
    """One request, of the program or of the library; it may have taken several messages.

    Attributes:
        at: the time of `leadership_core.backend.clock` at its end.
        store: the URL of the store, with all secrets masked.
        kind: the scheme of the URL, without `+tls`.
        operation: its name. Of the program: get, exists, list, put, fenced_put, delete,
            delete_tree, watch, open_session, leader. Of the library: open_session, renew,
            close_session, enter, status, withdraw, watch_claim, watch_leader, leader, clean_up.
        key: the key, without the prefix of the store's URL; None where there is none.
        by_program: whether the program has made it, and not the library.
        seconds: from its beginning to its outcome.
        outcome: what has become of it.
        context: a copy of the context variables of the thread that has made it.
    """

    droppable: ClassVar[bool] = True
    operation: str
    key: str | None
    by_program: bool
    seconds: float
    outcome: Outcome
    context: Context = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRestarted(_OfStore):
    """A watch reports again, after it had failed.

    Connections that a backend replaces at once, without any failure, are not reported.

    Attributes:
        at: the time of `leadership_core.backend.clock`.
        store: the URL of the store, with all secrets masked.
        kind: the scheme of the URL, without `+tls`.
        key: what is watched, without the prefix of the store's URL.
        watch: what for: claim, leader, or program for a watch of the program's.
        seconds: since it had failed.
    """

    key: str
    watch: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsDropped(_Timed):
    """Records were dropped, because the observers were too slow.

    Attributes:
        at: the time of `leadership_core.backend.clock`.
        count: how many, since the last record of this kind.
    """

    count: int


Record: TypeAlias = (
    CandidateTransition | FollowerTransition | Renewal | Request | WatchRestarted | RecordsDropped
)
"""What observers get; a type checker can check a `match` over them for completeness."""
