"""The store's own history of an election, as somebody sees it who does not use our library."""

from __future__ import annotations

import http.client
import sqlite3
import struct
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from tests.scenarios.diary import now

__all__ = ["BLIND", "Eye", "Holder", "Look", "Witness"]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the election, as the store says it.

    Attributes:
        token: what the store has given it, which is what our library uses for a token.
        value: what it wrote.
    """

    token: int
    value: str


@dataclass(frozen=True, slots=True)
class Look:
    """At some moment between these two, that was the holder, or there was none.

    Attributes:
        since: seconds of the boot clock; before anything was asked.
        until: seconds; after the answer.
    """

    since: float
    until: float
    holder: Holder | None

    @property
    def token(self) -> int | None:
        """Of the holder."""
        return None if self.holder is None else self.holder.token


BLIND = (
    OSError,
    http.client.HTTPException,
    LookupError,
    ValueError,
    sqlite3.Error,
    struct.error,
)
"""What an eye raises while there is nothing to see: no server, or none that makes sense."""


class Eye(Protocol):
    """Looks straight at a store, at whichever of its servers answers."""

    def look(self) -> list[Holder | None]:
        """Return the holders since the last look, one after the other, the present one last.

        The present one is what the whole store says, at some moment of the call. Where servers
        can be cut off from the others, one that is cannot answer. Those before it may be fewer
        than there were.

        Raises:
            One of `BLIND`: there is nothing to see. The next call tries again, elsewhere if
                there is an elsewhere.
        """

    def close(self) -> None:
        """Let go of the connection, without waiting for anybody."""


class Witness:
    """A thread that looks at the store all the time, and writes down what it sees.

    Attributes:
        looks: those that saw something.
        trouble: why the last of the others did not.
    """

    def __init__(self, eye: Eye, *, pause: float = 0.03) -> None:
        self.looks: list[Look] = []
        self.trouble = ""
        self._eye = eye
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="test-witness", daemon=True)
        self._thread.start()

    def await_look(self, seconds: float) -> bool:
        """Wait for a look that begins after this call; False if there is none in time."""
        asked = now() / 1e9
        while not (self.looks and self.looks[-1].since > asked):
            if now() / 1e9 > asked + seconds:
                return False
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """End it; idempotent."""
        self._over.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the witness does not end"

    def _run(self) -> None:
        before: float | None = None  # when the last look that saw something began
        while not self._over.wait(self._pause):
            since = now() / 1e9
            try:
                *past, present = self._eye.look()
            except BLIND as error:
                self.trouble = repr(error)
                self._eye.close()
                continue
            until = now() / 1e9
            self.looks += [Look(before or since, until, holder) for holder in past]
            self.looks.append(Look(since, until, present))
            before = since
        self._eye.close()
