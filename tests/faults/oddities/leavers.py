"""Programs that resign and stop, again and again, at once, in every state."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.oddities.cues import on_cue

if TYPE_CHECKING:
    from leadership_core import Candidate
    from tests.scenarios.worker import Stage

Play = Callable[["Stage"], None]

_SLOW = 0.06  # seconds, before a request and after it


def tired(how: str) -> Play:
    """Resign as soon as it is elected, with a cooldown of that many seconds, until the cue."""

    def play(stage: Stage) -> None:
        awake = threading.Event()

        def leave() -> None:
            for elected in stage.candidate.run_for_election():
                if elected and not awake.is_set():
                    stage.candidate.resign(float(how))

        threading.Thread(target=leave, daemon=True).start()
        on_cue(awake.set)

    return play


class Guest:
    """One more candidate of a process, with a diary of its own.

    Args:
        stage: whose store it stands on, and for whose election.
        folder: for the diary.
        name: of the diary.
    """

    def __init__(self, stage: Stage, folder: Path, name: str) -> None:
        from leadership_core import Candidate
        from tests.scenarios.diary import Writer

        host = stage.candidate
        self.candidate: Candidate = Candidate(stage.store, host.key, name, ttl=host.ttl)
        self._writer = Writer(folder / f"{name}.diary")
        self._threads = [threading.Thread(target=one) for one in (self._narrate, self._look)]
        self._over = threading.Event()

    def stand(self) -> None:
        """Let it campaign."""
        for thread in self._threads:
            thread.start()

    def leave(self) -> tuple[bool, float]:
        """Stop it for good: whether that was confirmed, and how many seconds it took."""
        begun = time.monotonic()
        confirmed = self.candidate.stop()
        took = time.monotonic() - begun
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(5)
        return confirmed, took

    def _narrate(self) -> None:
        from tests.scenarios.worker import narrate

        narrate(self.candidate, self._writer)
        self._over.set()

    def _look(self) -> None:
        from tests.scenarios.worker import look

        look(self.candidate, self._writer, self._over, 0.001)


def races(how: str) -> Play:
    """At the cue, let guests resign and stop from several threads at once.

    Args:
        how: how many guests, and the folder for their diaries: "30,FOLDER".
    """
    count, _, folder = how.partition(",")

    def play(stage: Stage) -> None:
        def race() -> None:
            stage.candidate.resign(600)  # it makes room
            for number in range(int(count)):
                rng = random.Random(number)
                guest = Guest(stage, Path(folder), f"guest-{number}")
                guest.stand()
                if rng.random() < 0.7:
                    guest.candidate.wait_elected(5)
                confirmed = _at_once(guest.candidate, rng)
                again, took = guest.leave()
                stage.writer.note(guest=number, confirmed=[*confirmed, again], took=took)

        on_cue(race)

    return play


def _at_once(candidate: Candidate, rng: random.Random) -> list[bool]:
    """Resign and stop from four threads, a few milliseconds apart; what `stop` said."""
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
    """At the cue, have guests that are stopped in each phase of theirs; requests are slow.

    Args:
        how: the folder for their diaries.
    """

    def play(stage: Stage) -> None:
        from leadership_core.machine import Phase

        def stop_in(phase: Phase) -> None:
            guest = Guest(stage, Path(how), phase.name.lower())
            candidate = guest.candidate
            if phase is not Phase.IDLE:
                guest.stand()
            if phase is Phase.DRAINING:
                begun = threading.Event()
                threading.Thread(
                    target=lambda: candidate.lead(lambda _: _work_on(begun)), daemon=True
                ).start()
                begun.wait(10)
            if phase in {Phase.DRAINING, Phase.WITHDRAWING, Phase.RESTING}:
                candidate.wait_elected(10)
                threading.Thread(target=lambda: candidate.resign(30), daemon=True).start()
            if phase is Phase.STOPPED:
                candidate.stop()
            reached = _await(lambda: candidate._candidacy._runner.phase is phase)
            confirmed, took = guest.leave()
            again, _ = guest.leave()
            stage.writer.note(
                phase=phase.name, reached=reached, confirmed=[confirmed, again], took=took
            )

        def stop_in_all() -> None:
            stop_in(Phase.WAITING)  # the host leads
            stage.candidate.resign(600)
            for phase in Phase:
                if phase is not Phase.WAITING:
                    stop_in(phase)

        _slow_down(stage)
        on_cue(stop_in_all)

    return play


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


def _slow_down(stage: Stage) -> None:
    """Let all requests for an election take a while, before they are sent and after."""

    def slowly(method: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*args: Any) -> Any:
            time.sleep(_SLOW)
            try:
                return method(*args)
            finally:
                time.sleep(_SLOW)

        return slow

    from leadership_core.internals import internals

    inner = internals(stage.store)
    engine = inner.engine
    election = type(engine.election(inner.full_key(stage.candidate.key)))
    for owner, names in (
        (election, ("enter", "standing", "withdraw")),
        (type(engine.backend), ("open_session",)),
    ):
        for name in names:
            setattr(owner, name, slowly(getattr(owner, name)))
