"""One race for one key: what a backend implements in its own best protocol.

The engine enters, asks to be told of changes (`on_turn`), asks how the claim stands, and asks
again each time it is woken. `Absent` makes it enter anew. It believes nothing but `Leading`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from . import clock
from .errors import StoreUnavailable
from .session import Closable, Session

__all__ = ["Absent", "Claim", "Election", "Leader", "Leading", "Standing", "Waiting"]


@dataclass(eq=False, slots=True)
class Claim:
    """One's place in a race, made by `Election.enter`.

    Attributes:
        key: the election's key.
        session: the session that holds it.
        value: what followers see while it leads.
        token: the fencing token of the term that it has won or may win; None as long as
            the store has granted nothing.
        granted: True if the answer to entering said that it leads with that token: the
            engine believes it without asking for the standing first.
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
    """The claim is there, is first, and is this session's.

    Attributes:
        token: the fencing token of the term.
        watched: see `Waiting`.
    """

    token: int
    watched: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another one leads.

    Attributes:
        watched: False as long as `on_turn` has not heard of the very state that this answer
            was read from. The engine asks again soon then: if that state ended and the one
            before it came back, a watch that reports states has nothing to report.
    """

    watched: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Absent:
    """The claim is not in the race, and nobody is known to lead: enter (again).

    Attributes:
        overwritten: something that is nobody's claim stands where this one stood.
    """

    overwritten: bool = False


Standing: TypeAlias = Leading | Waiting | Absent


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads an election; two terms of one candidate are two leaders.

    Attributes:
        value: what was passed to `Candidate`. Where another program has written bytes that are not
            UTF-8, they are lone surrogates in it, as `os.fsdecode` has them, and cannot be printed.
        token: the fencing token of the term.
    """

    value: str
    token: int
    confirmed_at: float = field(default_factory=clock.now, compare=False, repr=False)

    @property
    def age(self) -> float:
        """Seconds since the store last confirmed it."""
        return clock.now() - self.confirmed_at

    @property
    def raw(self) -> bytes:
        """The value as the store holds it."""
        return self.value.encode("utf-8", "surrogateescape")

    def __str__(self) -> str:
        """The value; bytes in it that are not UTF-8 are escaped, so it can always be encoded."""
        return self.raw.decode("utf-8", "backslashreplace")

    @classmethod
    def of(cls, value: bytes, token: int) -> Leader:
        """Make a leader of what a store holds; foreign bytes survive the round trip."""
        return cls(value.decode("utf-8", "surrogateescape"), token)


class Election(Protocol):
    """One race for one key, in the store's own best protocol."""

    def enter(self, session: Session, value: bytes) -> Claim:
        """Stand in the race with this session, and return the claim, granted or not.

        An answer that was lost is resolved inside by reading back, never assumed.

        Raises:
            ClaimUnknown: it could not be resolved; carries the claim.
            SessionLost: the session is gone.
            StoreUnavailable: nothing was written.
        """

    def standing(self, claim: Claim) -> Standing:
        """Say how the claim stands, from one linearizable read.

        Raises:
            SessionLost: the session is gone.
            StoreUnavailable: no answer.
        """

    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        """Call `wake` whenever the standing may have changed, the claim's own loss included.

        It goes on until it is closed, over broken connections too; after one it wakes.
        """

    def withdraw(self, claim: Claim) -> None:
        """Take the claim out of the race; returns when the store has confirmed it.

        Calling it again is harmless, and so is a request of it that arrives late. It sets
        `claim.settled` when nothing that was sent for the claim can take effect any more.

        Raises:
            SessionLost: the session is gone, and the claim with it.
            StoreUnavailable: no answer; call again.
        """

    def leader(self) -> Leader | None:
        """Read who leads, linearizably."""

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        """Call `on_change` with the leader of now, then with every last one.

        None stands for no leader. A `StoreUnavailable` says that the store cannot be reached
        for now; the next call ends that, whatever it brings. Leaders in between may be missed.
        """
