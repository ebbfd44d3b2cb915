"""What all modelled servers have in common: sessions, people who meddle, and who waits for news."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from leadership_core.errors import SessionLost

from .kernel import World

__all__ = ["KEY", "Server", "ServerSession"]

KEY = "service/leader"


@dataclass(eq=False)
class ServerSession:
    """A session as the server has it."""

    id: str
    ttl: float
    expires: float = 0.0
    keys: set[str] = field(default_factory=set)


class Server(ABC):
    """A linearizable server: each request takes effect in one instant.

    Attributes:
        sessions: by id; the living ones.
        by_hand: tokens of terms that somebody has ended by hand; only they may overlap with the
            next one, for as long as their leader has not been told.
        forbidden: values that must not enter any more: their candidates were told that nothing
            of theirs is left.
        claims: how many there have been.

    Args:
        world: of the run.
        rng: where the server has a choice, as in when it ends a session.
        least: times the ttl; no session ends earlier after its last renewal.
        most: and none ends later.
    """

    def __init__(self, world: World, rng: random.Random, least: float, most: float) -> None:
        self.world, self.rng = world, rng
        self.sessions: dict[str, ServerSession] = {}
        self.by_hand: set[int] = set()
        self.forbidden: dict[bytes, float] = {}
        self.claims = 0
        self._least, self._most = least, most
        self._numbers = 0
        self._waiting: list[tuple[Callable[[], bool], Callable[[], None]]] = []

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
        """What the server calls a session."""
        return f"s{number}"

    def touch(self, session: ServerSession) -> None:
        """Count its ttl from now."""
        session.expires = self.world.now + session.ttl * self.rng.uniform(self._least, self._most)
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
        """It ends, and what it holds goes."""
        if self.sessions.pop(session.id, None) is not None:
            self.free(session)
            self.news()

    @abstractmethod
    def free(self, session: ServerSession) -> None:
        """Take away what the session held."""

    # -- waiting -----------------------------------------------------------------------------

    def wait(self, ready: Callable[[], bool], answer: Callable[[], None], seconds: float) -> None:
        """Call `answer` once it is ready, or after so many seconds."""
        if ready():
            answer()
            return
        entry = (ready, answer)
        self._waiting.append(entry)

        def enough() -> None:
            if entry in self._waiting:
                self._waiting.remove(entry)
                answer()

        self.world.after(seconds, enough)

    def news(self) -> None:
        """Something has changed: look who has waited for it."""
        if not self._waiting:
            return
        told = [entry for entry in self._waiting if entry[0]()]
        if told:
            self._waiting = [entry for entry in self._waiting if entry not in told]
            for _, answer in told:
                answer()

    # -- claims ------------------------------------------------------------------------------

    def claimed(self, value: bytes) -> None:
        """Somebody has entered."""
        self.claims += 1
        self.world.note(f"server: {value.decode()} has entered")
        since = self.forbidden.get(value)
        assert since is None, (
            f"{value.decode()} was told at {since:.3f} that nothing of it is left, "
            "and now a claim of it has arrived"
        )

    @abstractmethod
    def holders(self) -> list[bytes]:
        """The values of all claims that stand, the leader's first."""

    @abstractmethod
    def token(self) -> int | None:
        """The token of the claim that is first, if one stands."""

    # -- people ------------------------------------------------------------------------------

    @abstractmethod
    def delete_by_hand(self) -> None:
        """Somebody deletes the leader's claim."""

    @abstractmethod
    def overwrite_by_hand(self) -> None:
        """Somebody writes over the leader's claim."""

    def kill_by_hand(self) -> None:
        """Somebody ends a session."""
        if self.sessions:
            session = self.rng.choice(list(self.sessions.values()))
            self.meddled(session)
            self.world.note(f"somebody ends session {session.id}")
            self.end(session)

    def disturb(self, rng: random.Random, seconds: float) -> None:  # noqa: B027 - most have no parts
        """Let something befall a part of the server, where it has parts."""

    def mend(self) -> None:  # noqa: B027 - likewise
        """All its parts work again."""

    @abstractmethod
    def meddled(self, session: ServerSession | None) -> None:
        """Note that the claim that is first is about to end by hand, if it is that session's."""
