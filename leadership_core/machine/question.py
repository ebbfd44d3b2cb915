"""The question how a claim stands: one at a time, and once more if something changed meanwhile."""

from __future__ import annotations

from math import inf

__all__ = ["Question"]


class Question:
    """Whether it is being asked, must be asked again, or is due at a time."""

    def __init__(self) -> None:
        self.open = False
        self.due = inf
        self._again = False

    def ask(self) -> bool:
        """Something may have changed: True if the question is to be sent now."""
        if self.open:
            self._again = True
            return False
        self.open, self._again, self.due = True, False, inf
        return True

    def answered(self) -> bool:
        """The answer is here: True if something may have changed after it was given."""
        self.open = False
        return self._again

    def failed(self, retry_at: float) -> None:
        """No answer, or none to rely on: ask again at that time."""
        self.open, self.due = False, retry_at

    def drop(self) -> None:
        """An answer is of no interest any more."""
        self.open, self._again, self.due = False, False, inf
