"""`leadership elect`: stands for election, and says what happens."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

from ..candidate import Candidate
from ..errors import LeadershipError
from ..events import CandidateEvent, Elected, Lost, Resigned, Resumed, StoreDown, Suspended
from ..internals import internals
from . import console
from .arguments import Arguments, Command
from .opening import open_shared_store
from .patience import Patience
from .signals import Signals

__all__ = ["COMMAND", "Controls", "EventPrinter"]

_CLOSE_SECONDS = 5.0


def _run(arguments: Arguments) -> int:
    store = open_shared_store(arguments.url)
    candidate = Candidate(
        store, arguments.key, arguments.value, ttl=arguments.ttl, margin=arguments.margin
    )
    printer = EventPrinter(candidate, as_json=arguments.json)
    # Outermost: a second signal has to work until the store is closed.
    with (
        Controls(candidate).signals(),
        store,
        Patience(store, arguments.timeout, lambda: candidate.stop(0)) as patience,
    ):
        for event in candidate.events():
            printer.show(event)
            if isinstance(event, StoreDown):
                patience.trouble(event.error)
            elif isinstance(event, Elected):
                patience.worked()
        patience.check()
        # A store that has never answered holds nothing, and need not be waited for.
        worked = internals(store).engine.has_worked
        if not store.close(_CLOSE_SECONDS if worked else 0.0) and worked:
            console.complain(
                "leadership elect",
                f"{store.url} has not confirmed the release: the claim ends by itself within "
                f"{store.expires_within(arguments.ttl):g} s",
            )
    return 0


class Controls:
    """What signals do to a candidate.

    Args:
        candidate: whose.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._stopping = False
        self._resigning: threading.Thread | None = None

    def signals(self) -> Signals:
        """Enter it to take signals in."""
        numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            numbers.append(signal.SIGHUP)
        return Signals(self._signalled, lambda: self._candidate.stop(0), *numbers)

    def _signalled(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self._resign()
        elif self._stopping:
            os._exit(128 + number)
        else:
            self._stopping = True
            self._candidate.stop(0)

    def _resign(self) -> None:
        # It waits for the store, and the next signal must not.
        if self._resigning is None or not self._resigning.is_alive():
            self._resigning = threading.Thread(
                target=self._resign_now, name="leadership-resign", daemon=True
            )
            self._resigning.start()

    def _resign_now(self) -> None:
        with contextlib.suppress(LeadershipError):  # closed in the meantime
            self._candidate.resign()


class EventPrinter:
    """Prints the story of a candidate.

    Args:
        candidate: whose.
        as_json: one object a line.
    """

    def __init__(self, candidate: Candidate, *, as_json: bool) -> None:
        self._key, self._value = candidate.key, candidate.value
        self._json = as_json
        self._token: int | None = None

    def show(self, event: CandidateEvent) -> None:
        """Print the event; raises BrokenPipeError when nobody reads any more."""
        record = self.record(event)
        if self._json:
            console.put_record(**record)
        else:
            facts = [text.format(record[name]) for name, text in _TEXT.items() if name in record]
            value = console.shown(self._value)
            what = f"{console.stamp()} {event.name:<11}"
            console.put("  ".join([what, self._key, value, *facts]))

    def record(self, event: CandidateEvent) -> dict[str, object]:
        """The event as a JSON object."""
        if isinstance(event, Elected):
            self._token = event.term.token
        record: dict[str, object] = {
            "time": round(time.time(), 6),
            "event": event.name,
            "key": self._key,
            "value": self._value,
        }
        if isinstance(event, Elected | Suspended | Resumed | Lost | Resigned):
            record["token"] = self._token
        match event:
            case Lost(reason):
                record["reason"] = str(reason)
            case Suspended(remaining):
                record["remaining"] = round(remaining, 3)
            case StoreDown(error):
                record["error"] = console.one_line(error)
            case _:
                pass
        return record


_TEXT = {
    "token": "token {}",
    "reason": "{}",
    "remaining": "for {} s more, unless the store answers",
    "error": "{}",
}

COMMAND = Command(
    name="elect",
    summary="stand for election, until SIGTERM or SIGINT",
    description=(
        "Stands for election, and prints what happens. VALUE is what followers see while it\n"
        "leads. SIGTERM and SIGINT release and end it, a second one ends it at once;\n"
        "SIGUSR1 resigns and goes on campaigning. A store that was reached once may be away\n"
        "for any time."
    ),
    words=("URL", "KEY", "VALUE"),
    lease=True,
    run=_run,
)
