"""Looks at a candidate all the time, and writes down what it says of itself."""

from __future__ import annotations

import threading
import time

from ..candidate import Candidate
from ..clock import now
from ..errors import LeadershipError
from .history import Belief, History

__all__ = ["Witness"]


class Witness:
    """Two threads that write a candidate's beliefs and events into a history.

    Starts the candidate's campaign, and ends by itself when the candidate has stopped.

    Args:
        history: of the candidate's election; others may write it, too.
        candidate: whose.
        who: the name for it, another one for each candidate.
        pause: seconds between two looks.
    """

    def __init__(
        self, history: History, candidate: Candidate, who: str, *, pause: float = 0.001
    ) -> None:
        self._history, self._candidate, self._who = history, candidate, who
        self._pause = pause
        self._story = candidate.events()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"witness-{who}", daemon=True)
            for target in (self._look, self._listen)
        ]
        for thread in self._threads:
            thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until the candidate's story has ended; False if that takes longer."""
        until = now() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - now()))
        return not any(thread.is_alive() for thread in self._threads)

    def _look(self) -> None:
        belief: Belief | None = None
        while not self._over.is_set():
            before = now()
            term = self._candidate.term
            after = now()
            if belief is not None and (term is None or term.token != belief.token):
                belief.open, belief = False, None
            if term is not None:
                if belief is None:
                    belief = self._history.believes(self._who, term.token, after, before)
                belief.until = before
            time.sleep(self._pause)
        if belief is not None:
            belief.open = False

    def _listen(self) -> None:
        try:
            for event in self._story:
                self._history.note(self._who, event)
            self._history.end(self._who)
        except LeadershipError as error:
            self._history.note(self._who, f"failed with {error!r}")
        finally:
            self._over.set()
