"""`leadership elect`: campaigns until it is stopped, and prints its events."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

from ..candidate import Candidate
from ..engine.store_base import internals
from ..errors import LeadershipError
from ..events import CandidateEvent, Elected, Lost, Resigned, Resumed, StoreDown, Suspended
from . import output
from .arguments import Arguments
from .opening import StartupTimeout, open_shared_store
from .signals import Signals
from .status import serving

__all__ = ["EventPrinter", "SignalHandlers", "elect"]

_CLOSE_SECONDS = 5.0


def elect(arguments: Arguments) -> int:
    """Campaign until a signal stops the program; returns the exit code."""
    store = open_shared_store(arguments.url)
    try:
        candidate = Candidate(
            store, arguments.key, arguments.value, ttl=arguments.ttl, margin=arguments.margin
        )
    except LeadershipError:  # an invalid argument
        store.close(0)
        raise
    printer = EventPrinter(candidate, as_json=arguments.json)
    # Outermost: a second signal has to work until the store is closed.
    with (
        SignalHandlers(candidate).signals(),
        store,
        serving(arguments, candidate),
        StartupTimeout(store, arguments.timeout, lambda: candidate.stop(0)) as startup_timeout,
    ):
        for event in candidate.events():
            printer.show(event)
            if isinstance(event, StoreDown):
                startup_timeout.failed(event.error)
            elif isinstance(event, Elected):
                startup_timeout.succeeded()
        startup_timeout.check()
        # A store that has never answered holds no claim, so there is no release to wait for.
        worked = internals(store).engine.has_worked
        if not store.close(_CLOSE_SECONDS if worked else 0.0) and worked:
            output.print_error(
                "leadership elect",
                f"{store.url} has not confirmed the release: the claim expires within "
                f"{store.expires_within(arguments.ttl):g} s",
            )
    return 0


class SignalHandlers:
    """The effect of signals on a candidate: SIGUSR1 resigns, SIGTERM and SIGINT stop.

    A second SIGTERM or SIGINT ends the process at once. SIGHUP stops as well, unless it is ignored.

    Args:
        candidate: the candidate to control.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._is_stopping = False
        self._resigning: threading.Thread | None = None

    def signals(self) -> Signals:
        """Return a context manager that handles the signals while it is entered."""
        numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
            numbers.append(signal.SIGHUP)
        return Signals(self._on_signal, lambda: self._candidate.stop(0), *numbers)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGUSR1:
            # In a thread: resigning waits for the store, and must not delay the next signal.
            def resign() -> None:
                with contextlib.suppress(LeadershipError):  # closed meanwhile
                    self._candidate.resign()

            if self._resigning is None or not self._resigning.is_alive():
                self._resigning = threading.Thread(
                    target=resign, name="leadership-resign", daemon=True
                )
                self._resigning.start()
        elif self._is_stopping:
            os._exit(128 + number)
        else:
            self._is_stopping = True
            self._candidate.stop(0)


class EventPrinter:
    """Prints the events of a candidate.

    Args:
        candidate: the candidate.
        as_json: print one JSON object a line.
    """

    def __init__(self, candidate: Candidate, *, as_json: bool) -> None:
        self._key, self._value = candidate.key, candidate.value
        self._json = as_json
        self._token: int | None = None

    def show(self, event: CandidateEvent) -> None:
        """Print the event; raises BrokenPipeError if the reader of stdout has gone."""
        record = self.record(event)
        if self._json:
            output.print_record(**record)
        else:
            facts = [text.format(record[name]) for name, text in _TEXT.items() if name in record]
            value = output.escaped(self._value)
            head = f"{output.timestamp()} {event.name:<11}"
            output.print_line("  ".join([head, self._key, value, *facts]))

    def record(self, event: CandidateEvent) -> dict[str, object]:
        """Return the event as the fields of a JSON object."""
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
                record["error"] = output.one_line(error)
            case _:
                pass
        return record


_TEXT = {
    "token": "token {}",
    "reason": "{}",
    "remaining": "for {} s more, unless the store answers",
    "error": "{}",
}
