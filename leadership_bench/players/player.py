"""Base of all players: carries out the commands of its input, and prints one line per event.

Commands of the input:
    join KEY COUNT         that many candidates campaign for the key
    elections PREFIX COUNT one candidate for each of that many keys
    follow KEY             report the leaders of the key
    resign                 the leader resigns, and campaigns again after `COOLDOWN`
Lines of the output, each with the time of CLOCK_MONOTONIC at its end:
    ready, elected INDEX, all (of the elections), resigning, leader VALUE, error TEXT
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Player", "Settings", "print_event"]

COOLDOWN = 0.05
"""Seconds after which a candidate that has resigned campaigns again; the same for all."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a player gets from the run.

    Attributes:
        contender: the name of the module of the player.
        url: of the store, for ours.
        host: of the server, or the path of the file.
        port: of the server.
        ttl: seconds.
    """

    contender: str
    url: str
    host: str
    port: int
    ttl: float


def print_event(*words: object) -> None:
    """Print one line, with the time at its end; one write, so that threads do not mix theirs."""
    line = f"{' '.join(map(str, words))} {time.monotonic():.9f}\n"
    os.write(1, line.encode("utf-8", "surrogateescape"))


class Player:
    """The candidates of one process; this base runs one thread per candidate.

    Args:
        settings: from the run.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings: Settings = settings
        self.ending: threading.Event = threading.Event()
        self._leave: dict[int, threading.Event] = {}
        self._elected: set[str] = set()
        self._wanted = 0

    # -- for the players of the libraries --------------------------------------------------------

    def prepare(self) -> None:
        """Load what the library loads lazily, and connect to nothing."""

    def open(self) -> None:
        """Connect to the server."""

    def hold(self, key: str, name: str, lead: Callable[[], None]) -> None:
        """Campaign once: call `lead` when elected, and resign when that has returned; blocks."""
        raise NotImplementedError

    def follow(self, key: str) -> None:
        """Report the leaders of the key; does not block."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave all elections as well as possible."""

    @contextmanager
    def renewing(self, renew: Callable[[], object]) -> Iterator[None]:
        """Call `renew` three times in each ttl until the block ends, as the users of such a lock have to."""
        done = threading.Event()

        def keep() -> None:
            while not done.wait(self.settings.ttl / 3):
                renew()

        self._start(keep)
        try:
            yield
        finally:
            done.set()

    # -- the protocol ----------------------------------------------------------------------------

    def join(self, key: str, count: int) -> None:
        """Let that many candidates campaign for the key."""
        for index in range(count):
            self._start(self._campaign, key, index)

    def elections(self, prefix: str, count: int) -> None:
        """Let one candidate campaign for each of that many keys."""
        self._wanted = count
        for index in range(count):
            self._start(self._campaign, f"{prefix}/{index}", index)

    def resign(self) -> None:
        """Let the leader resign."""
        for leave in tuple(self._leave.values()):
            leave.set()

    def elected(self, index: int, key: str) -> None:
        """Report an election: of `join` each one, of `elections` when all have a leader."""
        if not self._wanted:
            print_event("elected", index)
            return
        self._elected.add(key)
        if len(self._elected) == self._wanted:
            print_event("all")

    def run(self) -> None:
        """Carry out the commands of the input until that ends."""
        signal.signal(signal.SIGTERM, lambda *_: None)  # its input ends, too
        self.prepare()
        print_event("ready")
        is_open = False
        for line in sys.stdin:
            if not is_open:
                self.open()  # only now, so that it is a part of the time from start to elected
                is_open = True
            match line.split():
                case ["join", key, count]:
                    self.join(key, int(count))
                case ["elections", prefix, count]:
                    self.elections(prefix, int(count))
                case ["follow", key]:
                    self.follow(key)
                case ["resign"]:
                    print_event("resigning")
                    self.resign()
        self.ending.set()
        if is_open:
            self.resign()
            self.close()

    def _campaign(self, key: str, index: int) -> None:
        leave = self._leave[index] = threading.Event()

        def lead() -> None:
            leave.clear()
            self.elected(index, key)
            leave.wait()

        while not self.ending.is_set():
            try:
                self.hold(key, f"candidate-{index}", lead)
            except Exception as error:  # noqa: BLE001 - reported to the run, which drops the contender
                if not self.ending.is_set():
                    print_event(
                        "error", f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
                    )
                return
            self.ending.wait(COOLDOWN)

    @staticmethod
    def _start(target: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()
