"""Programs that do the worst when the library calls them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.faults.oddities.cues import on_cue

if TYPE_CHECKING:
    from leadership_core import Term
    from tests.scenarios.worker import Stage

Play = Callable[["Stage"], None]


def works(how: str) -> Play:
    """Lead by `lead`, whose work does something at the cue.

    Args:
        how: "raises", "hangs:SECONDS", "resigns", "stops", "stands:KEY" for another election,
            or "stands" for the same one.
    """
    what, _, word = how.partition(":")

    def play(stage: Stage) -> None:
        cued = threading.Event()
        on_cue(cued.set)
        do = {
            "raises": _raise,
            "hangs": _hang,
            "resigns": _resign,
            "stops": _stop,
            "stands": _stand,
        }

        def work(term: Term) -> None:
            stage.writer.note(works=term.token)
            while not term.lost and not cued.is_set():
                time.sleep(0.002)
            if cued.is_set():
                cued.clear()
                do[what](stage, word)
                stage.writer.note(did=what, led=not term.lost)

        def lead() -> None:
            try:
                stage.candidate.lead(work, cooldown=0.5)
            except ZeroDivisionError as error:
                stage.writer.note(lead_raised=str(error))
            else:
                stage.writer.note(lead_returned=True)

        threading.Thread(target=lead, daemon=True).start()

    return play


def _raise(stage: Stage, word: str) -> None:
    raise ZeroDivisionError("the work has failed")


def _hang(stage: Stage, seconds: str) -> None:
    time.sleep(float(seconds))


def _resign(stage: Stage, word: str) -> None:
    begun = time.monotonic()
    stage.writer.note(resign=stage.candidate.resign(0.5), took=time.monotonic() - begun)


def _stop(stage: Stage, word: str) -> None:
    begun = time.monotonic()
    stage.writer.note(stop=stage.candidate.stop(), took=time.monotonic() - begun)


def _stand(stage: Stage, key: str) -> None:
    from leadership_core import Candidate

    host = stage.candidate
    other = Candidate(stage.store, key or host.key, "another", ttl=host.ttl)
    term = other.wait_elected(host.ttl / 2)
    stage.writer.note(another=term is not None, stopped=other.stop())


def watches(how: str) -> Play:
    """Watch the election's key and another one, and have what is called back misbehave.

    Args:
        how: "raises", "hangs:SECONDS" or "resigns".
    """
    what, _, word = how.partition(":")

    def play(stage: Stage) -> None:
        do = {"raises": _raise, "hangs": _hang, "resigns": _resign}[what]

        def on_change(_change: object) -> None:
            stage.writer.note(told=what)
            do(stage, word)

        def watch() -> None:
            for key in (stage.candidate.key, f"{stage.candidate.key}-other"):
                stage.store.watch(key, on_change)
                stage.store.watch_tree(key, on_change)
            stage.store.put(f"{stage.candidate.key}-other", b"x")

        on_cue(watch)

    return play
