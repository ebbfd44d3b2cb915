"""Programs that resign and stop repeatedly, concurrently, in every state."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.process_faults.triggers import on_trigger

if TYPE_CHECKING:
    from leadership_core import Candidate, Store
    from tests.support.worker import WorkerContext

Play = Callable[["WorkerContext"], None]

_SLOW = 0.06  # seconds, before a request and after it


def tired(how: str) -> Play:
    """Resign whenever it is elected, with a cooldown of that many seconds, until the trigger."""

    def play(context: WorkerContext) -> None:
        awake = threading.Event()

        def leave() -> None:
            for elected in context.candidate.run_for_election():
                if elected and not awake.is_set():
                    context.candidate.resign(float(how))

        threading.Thread(target=leave, daemon=True).start()
        on_trigger(awake.set)

    return play


class Guest:
    """A further candidate of the process, with its own recording.

    Args:
        context: gives the store and the election.
        folder: for the recording.
        name: of the recording.
        ready: the candidate's, if it has one.
        store: the candidate's, if it has one of its own.
    """

    def __init__(
        self,
        context: WorkerContext,
        folder: Path,
        name: str,
        ready: Callable[[], bool] | None = None,
        store: Store | None = None,
    ) -> None:
        from leadership_core import Candidate
        from tests.support.recording import Recorder

        host = context.candidate
        self.candidate: Candidate = Candidate(
            store or context.store, host.key, name, ttl=host.ttl, ready=ready
        )
        self._writer = Recorder(folder / f"{name}.recording")
        self._threads = [threading.Thread(target=one) for one in (self._record_events, self._poll)]
        self._over = threading.Event()

    def campaign(self) -> None:
        """Start the candidate."""
        for thread in self._threads:
            thread.start()

    def leave(self) -> tuple[bool, float]:
        """Stop the candidate; returns whether that was confirmed, and the seconds it took."""
        begun = time.monotonic()
        confirmed = self.candidate.stop()
        took = time.monotonic() - begun
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(5)
        return confirmed, took

    def _record_events(self) -> None:
        from tests.support.worker import record_events

        record_events(self.candidate, self._writer)
        self._over.set()

    def _poll(self) -> None:
        from tests.support.worker import poll_leadership

        poll_leadership(self.candidate, self._writer, self._over, 0.001)


def races(how: str) -> Play:
    """At the trigger, let guests resign and stop in several threads at once.

    Args:
        how: how many guests, and the folder for their recordings: "30,FOLDER".
    """
    count, _, folder = how.partition(",")

    def play(context: WorkerContext) -> None:
        def race() -> None:
            context.candidate.resign(600)  # it makes room
            for number in range(int(count)):
                rng = random.Random(number)
                guest = Guest(context, Path(folder), f"guest-{number}")
                guest.campaign()
                if rng.random() < 0.7:
                    guest.candidate.wait_elected(5)
                confirmed = _at_once(guest.candidate, rng)
                again, took = guest.leave()
                context.recorder.note(guest=number, confirmed=[*confirmed, again], took=took)

        on_trigger(race)

    return play


def _at_once(candidate: Candidate, rng: random.Random) -> list[bool]:
    """Resign and stop in four threads, milliseconds apart; returns the results of `stop`."""
    said: list[bool] = []

    def resign() -> None:
        time.sleep(rng.uniform(0.0, 0.01))
        candidate.resign(0)

    def stop() -> None:
        time.sleep(rng.uniform(0.0, 0.01))
        said.append(candidate.stop())

    threads = [threading.Thread(target=one) for one in (resign, stop, resign, stop)]
    for thread in rng.sample(threads, len(threads)):
        thread.start()
    for thread in threads:
        thread.join(30)
    return said


def stops_in_each_phase(how: str) -> Play:
    """At the trigger, stop guests in each of their phases, with slow requests.

    Args:
        how: the folder for their recordings.
    """

    def play(context: WorkerContext) -> None:
        from leadership_core import open_store
        from leadership_core.engine.messages import Phase
        from tests.support.internals import candidate_control

        def stop_in(phase: Phase, store: Store | None = None) -> None:
            asked = phase is Phase.CHECKING_READINESS
            ready = _answer_slowly if asked else None
            guest = Guest(context, Path(how), phase.name.lower(), ready, store)
            candidate = guest.candidate
            if phase is not Phase.IDLE:
                guest.campaign()
            if phase is Phase.DRAINING:
                begun = threading.Event()
                threading.Thread(
                    target=lambda: candidate.lead(lambda _: _work_on(begun)), daemon=True
                ).start()
                begun.wait(10)
            if phase in {Phase.DRAINING, Phase.WITHDRAWING, Phase.BACKING_OFF}:
                candidate.wait_elected(10)
                threading.Thread(target=lambda: candidate.resign(30), daemon=True).start()
            if phase is Phase.STOPPED:
                candidate.stop()
            reached = _await(lambda: candidate_control(candidate).debug_state().phase is phase)
            confirmed, took = guest.leave()
            again, _ = guest.leave()
            context.recorder.note(
                phase=phase.name, reached=reached, confirmed=[confirmed, again], took=took
            )

        def stop_in_all() -> None:
            # The host leads: those of its store are queued behind it, and others wait at the store.
            stop_in(Phase.QUEUED)
            with open_store(context.url) as other:
                stop_in(Phase.WAITING, other)
            context.candidate.resign(600)
            for phase in Phase:
                if phase not in {Phase.QUEUED, Phase.WAITING}:
                    with open_store(context.url) as other:  # with a session that is to be opened
                        stop_in(phase, other)

        _slow_down(context)
        on_trigger(stop_in_all)

    return play


def _answer_slowly() -> bool:
    time.sleep(0.5)
    return True


def _work_on(begun: threading.Event) -> None:
    begun.set()
    time.sleep(0.4)  # whatever becomes of the term


def _await(is_it: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not is_it():
        if time.monotonic() > until:
            return False
        time.sleep(0.0005)
    return True


def _slow_down(context: WorkerContext) -> None:
    """Delay all requests for an election, before they are sent and before they return."""

    def slowly(method: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*args: Any) -> Any:
            time.sleep(_SLOW)
            try:
                return method(*args)
            finally:
                time.sleep(_SLOW)

        return slow

    from leadership_core.engine.store_base import internals

    inner = internals(context.store)
    engine = inner.engine
    election = type(engine.election(inner.namespace.full(context.candidate.key)))
    for owner, names in (
        (election, ("enter", "status", "withdraw")),
        (type(engine.backend), ("open_session",)),
    ):
        for name in names:
            setattr(owner, name, slowly(getattr(owner, name)))
