"""Observation of an election's holder at the store, without this library."""

from __future__ import annotations

import http.client
import sqlite3
import struct
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from tests.support.recording import now

__all__ = ["UNREADABLE", "Holder", "Reading", "StoreObserver", "StoreReader"]


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of an election according to the store.

    Attributes:
        token: what the store has given it, which is what our library uses for a token.
        value: what it wrote.
    """

    token: int
    value: str


@dataclass(frozen=True, slots=True)
class Reading:
    """At some moment between the two times, this was the holder, or there was none.

    Attributes:
        since: seconds of the boot clock; before anything was asked.
        until: seconds; after the answer.
    """

    since: float
    until: float
    holder: Holder | None

    @property
    def token(self) -> int | None:
        """The token of the holder."""
        return None if self.holder is None else self.holder.token


UNREADABLE = (
    OSError,
    http.client.HTTPException,
    LookupError,
    ValueError,
    sqlite3.Error,
    struct.error,
)
"""What an eye raises while there is nothing to see: no server, or none that makes sense."""


class StoreReader(Protocol):
    """Reads the holder of an election from any server that answers."""

    def read(self) -> list[Holder | None]:
        """Return the holders since the last call in order; the present one is the last.

        The present one is what the whole store says, at some moment of the call. Where servers
        can be cut off from the others, one that is cannot answer. Those before it may be fewer
        than there were.

        Raises:
            One of `UNREADABLE`: there is nothing to see. The next call tries again, elsewhere if
                there is an elsewhere.
        """

    def close(self) -> None:
        """Close the connection, without waiting."""


class StoreObserver:
    """A thread that reads the store repeatedly, and records the holders.

    Attributes:
        readings: those that saw something.
        trouble: why the last of the others did not.
    """

    def __init__(self, reader: StoreReader, *, pause: float = 0.03) -> None:
        self.readings: list[Reading] = []
        self.trouble = ""
        self._reader = reader
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="test-witness", daemon=True)
        self._thread.start()

    def await_reading(self, seconds: float) -> bool:
        """Wait for a reading that began after this call; False if there is none in time."""
        asked = now() / 1e9
        while not (self.readings and self.readings[-1].since > asked):
            if now() / 1e9 > asked + seconds:
                return False
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """End the thread; may be called again."""
        self._over.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the witness does not end"

    def _run(self) -> None:
        before: float | None = None  # when the last successful reading began
        while not self._over.wait(self._pause):
            since = now() / 1e9
            try:
                *past, present = self._reader.read()
            except UNREADABLE as error:
                self.trouble = repr(error)
                self._reader.close()
                continue
            until = now() / 1e9
            self.readings += [Reading(before or since, until, holder) for holder in past]
            self.readings.append(Reading(since, until, present))
            before = since
        self._reader.close()
