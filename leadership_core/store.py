"""What a backend implements: a key-value store with sessions, and elections on top of it.

Three layers, each knowing only the one below: `Candidate` and `Follower` are what users
hold; the engine has the threads, the timers and the state machine; these protocols are what
it drives. The keys that arrive here are normalised and carry the prefix of the URL.

Every call may block for at most `leadership_core.budget.remaining_budget()` seconds and then
raises `StoreUnavailable`. All methods may be called from several threads at once. Callbacks
are called from any thread; they only set a flag, so a store may call them where it likes, but
not while it holds a lock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Set as AbstractSet
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, Literal, Protocol, TypeAlias

from .election import Absent, Claim, Election, Leader, Leading, Standing, Waiting
from .errors import StoreUnavailable
from .session import Closable, Session

__all__ = [
    "ABSENT",
    "ANY",
    "Absent",
    "Capability",
    "Claim",
    "Closable",
    "Election",
    "Entry",
    "Expected",
    "FullStore",
    "Leader",
    "Leading",
    "Session",
    "Standing",
    "Store",
    "Waiting",
]


class Capability(StrEnum):
    """What a store may be able to do beyond the least; it declares the ones that it has."""

    GLOBAL_REVISION = "global_revision"
    """Revisions grow over the whole store, so that one serves as a fencing token."""
    SESSIONS = "sessions"
    """Entries can be bound to a session, and go when it goes."""
    FENCED_WRITES = "fenced_writes"
    """`put` takes a fence, and the store itself checks it in the same atomic step."""
    BOUND_COMPARISONS = "bound_comparisons"
    """`expect=` of an entry that is bound to a session accepts that entry alone, and never one that
    was deleted and bound again meanwhile."""


class _Expect(Enum):
    ANY = "any"
    ABSENT = "absent"


ANY: Final = _Expect.ANY
"""Write whatever is there."""
ABSENT: Final = _Expect.ABSENT
"""Write only if the key is not there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value as it was at one moment.

    Attributes:
        key: the key.
        value: the bytes stored there.
        revision: changes with every write of this key.
        session: the id of the session that it is bound to, or None.
    """

    key: str
    value: bytes
    revision: int
    session: str | None = None


Expected: TypeAlias = Entry | Literal[_Expect.ANY, _Expect.ABSENT]


Change: TypeAlias = Entry | list[Entry] | StoreUnavailable | None
"""What a watch reports: the entry, None when it is not there, or that the store is away."""


class Store(Protocol):
    """A key-value store with sessions: what every backend implements.

    `leadership_core.DefaultElection` builds the elections out of it. What a backend may implement
    beyond that is in `FullStore`.
    """

    def get(self, key: str) -> Entry | None:
        """Read the key, linearizably."""

    def list(self, prefix: str) -> list[Entry]:
        """Read all entries below `prefix`, that is, those whose keys begin with `prefix/`.

        The prefix "" stands for all that there is.
        """

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected = ANY,
        session: Session | None = None,
        fence: tuple[str, int] | None = None,
    ) -> Entry:
        """Write the key in one atomic step.

        Args:
            key: where.
            value: what.
            expect: the entry that must be there unchanged, `ABSENT`, or `ANY`.
            session: bind the entry to it: the entry goes when the session goes (`SESSIONS`).
                Without one, an entry that was bound is bound to none any more.
            fence: key and token of a claim that must still stand (`FENCED_WRITES`).

        Raises:
            Conflict: the entry is not the expected one.
            Fenced: the claim of the fence does not stand any more.
            SessionLost: the session is gone.
            StoreUnavailable: no answer; it may have been written.
        """

    def delete(self, key: str, *, expect: Expected = ANY) -> bool:
        """Delete the key; False if it was not there.

        Raises:
            Conflict: the entry is there but not the expected one.
            StoreUnavailable: no answer; it may have been deleted.
        """

    def watch(
        self, key: str, on_change: Callable[[Change], None], *, tree: bool = False
    ) -> Closable:
        """Call `on_change` with the state of now, then with every last state.

        The state is the `Entry` or None; with `tree`, the list of what is below the key. It goes
        on until it is closed, over broken connections too; states in between may be missed. A
        `StoreUnavailable` says that the store cannot be reached; the next call ends that.
        """

    def open_session(self, ttl: float) -> Session:
        """Open a session that ends by itself `ttl` seconds after its last renewal.

        Raises:
            ConfigurationError: the server refuses this ttl; the message has the numbers.
            StoreUnavailable: no answer.
        """

    def close(self) -> None:
        """Release what the client library holds, within the budget; may be called again."""


class FullStore(Store, Protocol):
    """A store with all that a backend may have: each of these can be left out, or all.

    Nobody needs this type to write a store; it says what the attributes mean.

    Attributes:
        capabilities: the ones that it has; without the attribute, `SESSIONS`.
        prefix: what the URL puts before every key, normalised; without it, nothing.
        least_margin: seconds that a leader must stop believing before the ttl, at least;
            without it, none.
    """

    @property
    def capabilities(self) -> AbstractSet[Capability]: ...

    @property
    def prefix(self) -> str: ...

    @property
    def least_margin(self) -> float: ...

    def expires_within(self, ttl: float) -> float:
        """Seconds after its last renewal by which a silent session of that ttl is gone.

        Without this method, exactly the ttl.
        """

    def election(self, key: str) -> Election:
        """Return a new election of this key; contacts nobody.

        The core asks once, and keeps the object for as long as it is used. It has to allow weak
        references, as all objects do that have no `__slots__`. Without this method, a
        `DefaultElection`.
        """

    def exists(self, key: str) -> bool:
        """Say whether an entry is at the key, linearizably.

        Without this method, that is whether `get` returns one. It is for stores whose elections
        leave something at the key after the last term, which is no entry of anybody's.
        """

    def delete_tree(self, prefix: str) -> int:
        """Delete what `list(prefix)` lists, in one step where the server can; returns how many.

        The key `prefix` itself stays. Without this method, each entry is deleted by itself.

        Raises:
            StoreUnavailable: no answer; some of it, or all, may have been deleted.
        """

    def after_fork_in_child(self) -> None:
        """Become inert: this process is a forked child of the one that opened it.

        Called in the child with nothing but this thread running, so it must take no lock and
        write to no socket that the parent uses. Without this method nothing is done; the core
        makes no further calls either way.
        """
