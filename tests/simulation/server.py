"""Base class of the modelled servers: sessions, claims, blocked reads, and an operator's interference."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from leadership_core.errors import SessionLost

from .kernel import World

__all__ = ["KEY", "Server", "ServerClaim", "ServerSession"]

KEY = "service/leader"


@dataclass(eq=False)
class ServerSession:
    """A session as the server has it."""

    id: str
    ttl: float
    expires: float = 0.0
    keys: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ServerClaim:
    """A claim as the server has it; `session` is the id of its session, `place` its key."""

    value: bytes
    token: int | None
    session: str
    place: str | bytes = ""


class Server(ABC):
    """A linearizable server: each request takes effect in one instant.

    Attributes:
        sessions: the living ones, by id.
        ended_by_operator: tokens of terms that an operator has ended; only they may overlap with
            the next term, until their leader has been notified.
        departed: values of candidates that were assured that no claim of theirs is left, with the
            time of that answer; a later claim of theirs is a fault.
        claimed: number of claims so far.

    Args:
        world: of the run.
        rng: for the server's choices, such as when it ends a session.
        least: no session ends earlier than this many ttls after its last renewal.
        most: no session ends later than this many ttls.
    """

    def __init__(self, world: World, rng: random.Random, least: float, most: float) -> None:
        self.world, self.rng = world, rng
        self.sessions: dict[str, ServerSession] = {}
        self.ended_by_operator: set[int] = set()
        self.departed: dict[bytes, float] = {}
        self.claimed = 0
        self.least, self.most = least, most
        self._numbers = 0
        self._blocked: list[tuple[Callable[[], bool], Callable[[], None]]] = []

    # -- sessions ----------------------------------------------------------------------------

    def open(self, ttl: float) -> ServerSession:
        """Open a session."""
        self._numbers += 1
        session = ServerSession(self.new_id(self._numbers), ttl)
        self.sessions[session.id] = session
        self.touch(session)
        self.world.note(f"server: session {session.id} begins")
        return session

    def new_id(self, number: int) -> str:
        """The id of the session with that number."""
        return f"s{number}"

    def touch(self, session: ServerSession) -> None:
        """Count its ttl from now."""
        session.expires = self.world.now + session.ttl * self.rng.uniform(self.least, self.most)
        self.world.at(session.expires, lambda: self._expire(session))

    def touch_all(self) -> None:
        """Count all ttls from now, as after a restart."""
        for session in list(self.sessions.values()):
            self.touch(session)

    def _expire(self, session: ServerSession) -> None:
        if session.id in self.sessions and session.expires <= self.world.now:
            self.world.note(f"server: session {session.id} has expired")
            self.end(session)

    def alive(self, session: str) -> ServerSession:
        """The session; raises `SessionLost`."""
        found = self.sessions.get(session)
        if found is None:
            raise SessionLost(f"session {session} is gone")
        return found

    def end(self, session: ServerSession) -> None:
        """End it, with all that it holds."""
        if self.sessions.pop(session.id, None) is not None:
            self.free(session)
            self.changed()

    @abstractmethod
    def free(self, session: ServerSession) -> None:
        """Release the keys of the session."""

    # -- blocked reads -----------------------------------------------------------------------

    def wait(self, ready: Callable[[], bool], answer: Callable[[], None], seconds: float) -> None:
        """Call `answer` once it is ready, or after so many seconds."""
        if ready():
            answer()
            return
        entry = (ready, answer)
        self._blocked.append(entry)

        def time_out() -> None:
            if entry in self._blocked:
                self._blocked.remove(entry)
                answer()

        self.world.after(seconds, time_out)

    def changed(self) -> None:
        """Answer the blocked reads that the present state satisfies."""
        self._answer([entry for entry in self._blocked if entry[0]()])

    def answer_all(self) -> None:
        """Answer all blocked reads, though nothing has changed."""
        self._answer(list(self._blocked))

    def _answer(self, entries: list[tuple[Callable[[], bool], Callable[[], None]]]) -> None:
        if entries:
            self._blocked = [entry for entry in self._blocked if entry not in entries]
            for _, answer in entries:
                answer()

    # -- claims ------------------------------------------------------------------------------

    @abstractmethod
    def claims(self) -> Sequence[ServerClaim]:
        """All claims, the leader's first."""

    def holders(self) -> list[bytes]:
        """The values of all claims, the leader's first."""
        return [claim.value for claim in self.claims()]

    def token(self) -> int | None:
        """The token of the first claim, or None."""
        claims = self.claims()
        return claims[0].token if claims else None

    def printed_id(self, session: str) -> str:
        """The id that the product prints for that session."""
        return session

    def has_claim_of(self, session: str) -> bool:
        """Whether the session with that printed id has a claim that no operator has touched."""
        return any(
            self.printed_id(claim.session) == session
            for claim in self.claims()
            if claim.token not in self.ended_by_operator
        )

    def record_claim(self, value: bytes) -> None:
        """A candidate has entered."""
        self.claimed += 1
        self.world.note(f"server: {value.decode()} has entered")
        since = self.departed.get(value)
        assert since is None, (
            f"{value.decode()} was assured at {since:.3f} that no claim of it is left, "
            "and now a claim of it has arrived"
        )

    # -- an operator -------------------------------------------------------------------------

    def has_claim_entry(self) -> bool:
        """Whether there is an entry that an operator can delete."""
        return bool(self.claims())

    @abstractmethod
    def delete_first(self) -> None:
        """Delete the entry of the first claim."""

    @abstractmethod
    def overwrite_first(self) -> None:
        """Write over the entry of the first claim."""

    def operator_deletes(self) -> None:
        """An operator deletes the leader's claim."""
        if self.has_claim_entry():
            self._note_interference(None)
            self.world.note("an operator deletes the leader's entry")
            self.delete_first()

    def operator_overwrites(self) -> None:
        """An operator writes over the leader's claim."""
        if self.has_claim_entry():
            self._note_interference(None)
            self.world.note("an operator writes over the leader's entry")
            self.overwrite_first()

    def operator_ends_session(self) -> None:
        """An operator ends a session."""
        if self.sessions:
            session = self.rng.choice(list(self.sessions.values()))
            self._note_interference(session)
            self.world.note(f"an operator ends session {session.id}")
            self.end(session)

    def _note_interference(self, session: ServerSession | None) -> None:
        """The first claim is about to end by hand, if it is that session's or the session is None."""
        first = next(iter(self.claims()), None)
        if first is None or first.token is None:
            return
        if session is None or first.session == session.id:
            self.ended_by_operator.add(first.token)

    def disturb(self, rng: random.Random, seconds: float) -> None:  # noqa: B027 - most have no parts
        """Cut off a part of the server, where it has parts."""

    def repair(self) -> None:  # noqa: B027 - likewise
        """Let all its parts work again."""
