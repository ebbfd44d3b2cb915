"""Faulty callbacks: work and watches that raise, hang, resign or campaign."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.process_faults.triggers import on_trigger

if TYPE_CHECKING:
    from leadership_core import Term
    from tests.support.worker import WorkerContext

Play = Callable[["WorkerContext"], None]


def works(how: str) -> Play:
    """Lead by `lead`, whose work misbehaves at the trigger.

    Args:
        how: "raises", "hangs:SECONDS", "resigns", "stops", "campaigns:KEY" for another election,
            or "campaigns" for the same one.
    """
    what, _, word = how.partition(":")

    def play(context: WorkerContext) -> None:
        cued = threading.Event()
        on_trigger(cued.set)
        do = {
            "raises": _raise,
            "hangs": _hang,
            "resigns": _resign,
            "stops": _stop,
            "campaigns": _campaign,
        }

        def work(term: Term) -> None:
            context.recorder.note(works=term.token)
            while not term.lost and not cued.is_set():
                time.sleep(0.002)
            if cued.is_set():
                cued.clear()
                do[what](context, word)
                context.recorder.note(did=what, led=not term.lost)

        def lead() -> None:
            try:
                context.candidate.lead(work, cooldown=0.5)
            except ZeroDivisionError as error:
                context.recorder.note(lead_raised=str(error))
            else:
                context.recorder.note(lead_returned=True)

        threading.Thread(target=lead, daemon=True).start()

    return play


def _raise(context: WorkerContext, word: str) -> None:
    raise ZeroDivisionError("the work has failed")


def _hang(context: WorkerContext, seconds: str) -> None:
    time.sleep(float(seconds))


def _resign(context: WorkerContext, word: str) -> None:
    begun = time.monotonic()
    context.recorder.note(resign=context.candidate.resign(0.5), took=time.monotonic() - begun)


def _stop(context: WorkerContext, word: str) -> None:
    begun = time.monotonic()
    context.recorder.note(stop=context.candidate.stop(), took=time.monotonic() - begun)


def _campaign(context: WorkerContext, key: str) -> None:
    from leadership_core import Candidate

    host = context.candidate
    other = Candidate(context.store, key or host.key, "another", ttl=host.ttl)
    term = other.wait_elected(host.ttl / 2)
    context.recorder.note(another=term is not None, stopped=other.stop())


def watches(how: str) -> Play:
    """Watch the election's key and another one, with callbacks that misbehave.

    Args:
        how: "raises", "hangs:SECONDS" or "resigns".
    """
    what, _, word = how.partition(":")

    def play(context: WorkerContext) -> None:
        do = {"raises": _raise, "hangs": _hang, "resigns": _resign}[what]

        def on_change(_change: object) -> None:
            context.recorder.note(reported=what)
            do(context, word)

        def watch() -> None:
            for key in (context.candidate.key, f"{context.candidate.key}-other"):
                context.store.watch(key, on_change)
                context.store.watch_tree(key, on_change)
            context.store.put(f"{context.candidate.key}-other", b"x")

        on_trigger(watch)

    return play
