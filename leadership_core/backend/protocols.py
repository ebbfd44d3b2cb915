"""Protocols of a store plugin: the store, its sessions and its elections, with their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from ..errors import StoreUnavailable
from . import clock
from .entries import ANY, Change, Entry, Expected
from .fence import Fence

__all__ = [
    "Absent",
    "Capability",
    "Claim",
    "ClaimOutcomeUnknown",
    "ClaimStatus",
    "Closable",
    "Election",
    "Leader",
    "Leading",
    "Session",
    "StoreBackend",
    "Waiting",
]


class Closable(Protocol):
    """A watch, which runs until it is closed."""

    def close(self) -> None:
        """End it: no callback begins after this has returned. May be called repeatedly.

        Waits for a callback that is under way in another thread, for the remaining timeout of the
        call (five seconds outside a call of the store). Inside the callback it returns at once.
        """


class Session(Protocol):
    """A session: the entries and claims bound to it expire when the process stops renewing it.

    Where the store keeps others from the claims of a closed session for a while, a session has the optional
    attribute `closing_delays_others`, and it is true.

    Attributes:
        id: the value of `Entry.session` of the entries bound to it.
        ttl: seconds, as granted by the server.
    """

    @property
    def id(self) -> str: ...

    @property
    def ttl(self) -> float: ...

    def renew(self) -> float:
        """Restart the ttl at the server; returns the granted ttl in seconds.

        Raises:
            SessionLost: the server says that the session has ended.
            StoreUnavailable: no answer, which says nothing about the session.
        """

    def close(self) -> None:
        """End the session and what is bound to it; may be called repeatedly.

        Raises:
            StoreUnavailable: no answer; the session may live on, for its ttl at most.
        """


class Capability(StrEnum):
    """An optional feature of a store; a store declares the ones that it has."""

    GLOBAL_REVISION = "global_revision"
    """Revisions grow over the whole store, so that a revision serves as a fencing token."""
    SESSIONS = "sessions"
    """Entries can be bound to a session, and are deleted when it ends."""
    FENCED_WRITES = "fenced_writes"
    """`put` takes a fence, and the store itself checks it in the same atomic step."""
    BOUND_COMPARISONS = "bound_comparisons"
    """`expect=` of an entry that is bound to a session accepts that entry alone, and never one that
    was deleted and bound again meanwhile."""


class StoreBackend(Protocol):
    """A key-value store with sessions, as a plugin implements it.

    The methods below are required. `leadership_core.backend.DefaultElection` builds elections out
    of them.

    Optional parts:
        Each of these may be left out; the core then does what is said here.

        `capabilities`: a set of `Capability`. Without it, `SESSIONS`.

        `prefix`: str, what the URL puts before every key, normalised. Without it, "".

        `least_margin`: float, seconds before the end of the ttl at which a leader must stop
        leading, at the least. Without it, 0.

        `expires_within(ttl: float) -> float`: seconds after its last renewal by which a silent
        session of that ttl has ended. Without it, the ttl.

        `expires_by_observation: bool`: true where elections are `ObservedElection`s, so that a session which is
        silent ends when a candidate has observed it for its ttl, and not at a moment of the server's.
        Without it, False.

        `election(key: str) -> Election`: a new election of the key; sends no request. The core
        calls it once, and keeps the object for as long as it is used. The object must allow weak
        references, as all objects without `__slots__` do. Without it, a `DefaultElection`.

        `exists(key: str) -> bool`: whether an entry is at the key, linearizable. For stores whose
        elections leave something at the key after the last term that is not an entry. Without it,
        whether `get` returns an entry.

        `delete_tree(prefix: str) -> int`: delete what `list(prefix)` lists, in one step where the
        server can; returns the number of entries. The key `prefix` itself is kept. Raises
        `StoreUnavailable` if some entries, or all, may have been deleted. Without it, each entry is
        deleted by a call of `delete`.

        `after_fork_in_child() -> None`: become inert, in a forked child of the process that opened
        the store. Only the calling thread exists there, so it must take no lock, and write to no
        socket that the parent uses. Without it, nothing is done; the core makes no further calls
        in the child in any case.
    """

    def get(self, key: str) -> Entry | None:
        """Read the key, linearizably; None if it does not exist."""

    def list(self, prefix: str) -> list[Entry]:
        """Read all entries whose keys begin with `prefix/`; "" lists all entries."""

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: Fence | None = None,
    ) -> Entry:
        """Write the key in one atomic step, and return the entry as it is then.

        Args:
            key: the key to write.
            value: the bytes to store.
            expect: the entry that must be there unchanged, `ABSENT`, or `ANY`.
            session: bind the entry to it: the entry is deleted when it ends (`SESSIONS`).
                Without one, an entry that was bound is bound to none any more.
            fence: the term whose claim must still lead (`FENCED_WRITES`).

        Raises:
            Conflict: the entry is not the expected one.
            Fenced: the claim of the fence no longer leads.
            SessionLost: the session has ended.
            StoreUnavailable: no answer; it may have been written.
        """

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        """Delete the key; False if it did not exist.

        Raises:
            Conflict: the entry exists but is not the expected one.
            StoreUnavailable: no answer; it may have been deleted.
        """

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        """Call `on_change` with the present state, then with each latest state, until closed.

        The state is the `Entry` or None; with `tree`, the list of the entries below the key. A
        watch survives broken connections; states in between may be skipped. A `StoreUnavailable`
        says that the store cannot be reached; the next call, with a state, ends that.
        """

    def open_session(self, ttl: float) -> Session:
        """Open a session, which ends `ttl` seconds after its last renewal.

        Raises:
            ConfigurationError: the server refuses this ttl; the message names the limits.
            StoreUnavailable: no answer.
        """

    def close(self) -> None:
        """Release what the client library holds, within the timeout; may be called repeatedly."""


@dataclass(eq=False, slots=True)
class Claim:
    """The place of one candidate in an election, made by `Election.enter`.

    Attributes:
        key: the election's key.
        session: the session that it is bound to.
        value: what followers see while it leads.
        token: the fencing token of the term that it has won or may win; None as long as
            the store has granted nothing.
        granted: True if the answer to entering said that it leads with that token: the
            engine then begins the term without asking for the status first.
        settled: False as long as a request that was sent for it may still take effect.
    """

    key: str
    session: Session
    value: bytes
    token: int | None = None
    granted: bool = False
    settled: bool = True


@dataclass(frozen=True, slots=True)
class Leading:
    """The claim exists, is first, and is bound to this session.

    Attributes:
        token: the fencing token of the term.
        watched: see `Waiting`.
    """

    token: int
    watched: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another claim leads.

    Attributes:
        watched: False as long as `watch_claim` has not reported the very state that this answer
            was read from. The engine then asks again soon: if that state ended and the one
            before it came back, a watch that reports states has nothing to report.
    """

    watched: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Absent:
    """The claim does not exist, and no leader is known: enter (again).

    Attributes:
        overwritten: an entry that is not a claim is in the place of this one.
    """

    overwritten: bool = False


ClaimStatus: TypeAlias = Leading | Waiting | Absent


class _OnClock:
    """A value that is read on a clock, which is no field: JSON, `match` and pickle do without it."""

    __slots__ = ("_now",)
    _now: clock.Clock


@dataclass(frozen=True, slots=True)
class Leader(_OnClock):
    """The leader of an election; two terms of one candidate are two leaders.

    Attributes:
        value: the value of its `Candidate`. Where another program has written bytes that are not
            UTF-8, they are lone surrogates in it, as from `os.fsdecode`, and cannot be printed.
        token: the fencing token of the term.
    """

    value: str
    token: int
    confirmed_at: float = field(default_factory=clock.now, compare=False, repr=False)

    @property
    def age(self) -> float:
        """Seconds since the store last confirmed it."""
        now: clock.Clock = getattr(self, "_now", clock.now)
        return now() - self.confirmed_at

    @property
    def raw(self) -> bytes:
        """The value as the store holds it."""
        return self.value.encode("utf-8", "surrogateescape")

    def __str__(self) -> str:
        """The value; bytes in it that are not UTF-8 are escaped, so it can always be encoded."""
        return self.raw.decode("utf-8", "backslashreplace")

    @classmethod
    def of(cls, value: bytes, token: int, now: clock.Clock | None = None) -> Leader:
        """Make a leader of what a store holds; bytes that are not UTF-8 survive the round trip."""
        now = now or clock.now
        leader = cls(value.decode("utf-8", "surrogateescape"), token, now())
        object.__setattr__(leader, "_now", now)
        return leader


class Election(Protocol):
    """The election of one key, in the store's own best protocol.

    Optional parts, which the core does without:
        `orders_claims: bool`: true where claims are elected in the order in which they were made, and a claim that
        waits is the first as soon as the one before it is withdrawn, without a request of its own. Then a
        process in which a candidate leads makes a claim for the next one of that key, too, with another session.

        `watches_since_enter: bool`: true where a watch of a claim reports all that has happened since the answer to
        entering. Then a claim that was granted is not read when its watch begins.

        `known_status(claim) -> ClaimStatus | None`: the status that the reports of the watch prove by themselves,
        without a request. Called in the thread of the watch, before `status`.

        `candidate_started()`: called before the first request to enter after a user has started a candidate, so
        that a rate limit does not count it.
    """

    def enter(self, session: Session, value: bytes) -> Claim:
        """Enter the election with this session, and return the claim, granted or not.

        An answer that was lost is resolved inside by reading back, never assumed.

        Raises:
            ClaimOutcomeUnknown: it could not be resolved; carries the claim.
            SessionLost: the session has ended.
            StoreUnavailable: nothing was written.
        """

    def status(self, claim: Claim) -> ClaimStatus:
        """Read the status of the claim, in one linearizable read.

        Where a session observes all states of the store in their order, `Leading` may also rest on the
        observation of one in which the claim was first: it is so until its own end, which its watch reports.

        Raises:
            SessionLost: the session has ended.
            StoreUnavailable: no answer.
        """

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        """Call `wake` whenever the status may have changed, the claim's own loss included.

        The watch survives broken connections, and wakes after each one, until it is closed.
        """

    def withdraw(self, claim: Claim) -> None:
        """Remove the claim from the election; returns when the store has confirmed it.

        A repeated call is harmless, and so is a request of it that arrives late. It sets
        `claim.settled` when nothing that was sent for the claim can take effect any more.

        Raises:
            SessionLost: the session has ended, and the claim with it.
            StoreUnavailable: no answer; call again.
        """

    def leader(self) -> Leader | None:
        """Read the leader, linearizably; None if there is none."""

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        """Call `on_change` with the present leader, then with each latest one, until closed.

        None stands for no leader. A `StoreUnavailable` says that the store cannot be reached; the
        next call, with a leader or None, ends that. Leaders in between may be skipped.
        """


class ClaimOutcomeUnknown(StoreUnavailable):
    """A request that enters a claim got no answer, and reading back got none either."""

    def __init__(self, message: str, claim: Claim) -> None:
        super().__init__(message)
        self.claim = claim
