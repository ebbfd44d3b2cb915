"""Streams of server-sent events: the latest state of each election, for any number of clients.

A client that is slow gets no queue: what has changed while it took the last message is noted, and it
gets the state that each changed election has by then.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable

from .connection import Connection, Phase
from .documents import election_document, pulse_of
from .history import ElectionRecord
from .requests import Request
from .responses import Response, text_response

__all__ = ["Streams"]

_MOST = 32  # clients; the other connections are for probes
_CLOCK_SECONDS = 5.0  # between two messages that tell the page that the program is alive
_HEARTBEAT_SECONDS = 15.0
_PULSE_SECONDS = 0.25  # between two looks at the leases
_MOVED = 0.05  # seconds by which a lease moves when it is renewed, at least


class Streams:
    """The clients of `/events`, in the thread of the server.

    Args:
        elections: whose changes they get.
    """

    def __init__(self, elections: list[ElectionRecord]) -> None:
        self._elections = elections
        self._changed: dict[Connection, set[int]] = {}
        self._run = os.urandom(4).hex()  # the ids of another run mean nothing here
        self._number = 0
        self._pulses: list[float] = []
        self._pulse_at = self._clock_at = self._heartbeat_at = 0.0

    def open(self, connection: Connection, request: Request) -> Response:
        """Answer a request for `/events`, and begin its stream."""
        self._drop_closed()
        if len(self._changed) >= _MOST:
            return text_response(503, "too many clients of /events", Retry_After="10")
        if request.method != "HEAD":
            self._changed[connection] = set(range(len(self._elections)))
        return Response(200, "text/event-stream", None)

    def note(self, numbers: Iterable[int]) -> None:
        """Note that these elections have changed."""
        for changed in self._changed.values():
            changed.update(numbers)

    def tick(self, now: float) -> float:
        """Send what is due; returns the seconds until the next call."""
        self._drop_closed()
        if not self._changed:
            return float("inf")
        if now >= self._pulse_at:
            self._pulse_at = now + _PULSE_SECONDS
            pulses = [pulse_of(one) for one in self._elections]
            if len(self._pulses) == len(pulses):
                both = enumerate(zip(self._pulses, pulses, strict=True))
                moved = {number for number, (a, b) in both if abs(a - b) > _MOVED}
                self._pulses = [
                    new if number in moved else old
                    for number, (old, new) in enumerate(zip(self._pulses, pulses, strict=True))
                ]
                self.note(moved)
            else:
                self._pulses = pulses
        ready = [
            (connection, changed)
            for connection, changed in self._changed.items()
            if connection.phase is Phase.STREAMING and connection.drained
        ]
        made = {
            number: self._message("election", election_document(number, self._elections[number]))
            for number in sorted(set().union(*(changed for _, changed in ready)))
        }
        extra = b""
        if now >= self._clock_at:
            self._clock_at = now + _CLOCK_SECONDS
            extra += self._message("clock", {"now": round(time.time(), 3)})
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + _HEARTBEAT_SECONDS
            extra += b": heartbeat\n\n"
        for connection, changed in ready:
            data = b"".join(made[number] for number in sorted(changed)) + extra
            changed.clear()
            if data:
                connection.stream(data, now)
        return max(0.0, self._pulse_at - now)

    def _message(self, event: str, document: object) -> bytes:
        self._number += 1
        text = json.dumps(document, separators=(",", ":"))
        return f"id: {self._run}-{self._number}\nevent: {event}\ndata: {text}\n\n".encode("ascii")

    def _drop_closed(self) -> None:
        gone = {Phase.CLOSED, Phase.LINGERING}
        self._changed = {one: set_ for one, set_ in self._changed.items() if one.phase not in gone}
