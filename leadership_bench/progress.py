"""Progress of a run on stderr: what is measured, how far it is, and how long the rest may take."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]


class Progress:
    """Prints one line per step; on a terminal the line of the present step is rewritten.

    Args:
        weights: the expected seconds of each step, by its name.
    """

    def __init__(self, weights: dict[str, float]) -> None:
        self._weights = weights
        self._done: set[str] = set()
        self._begun = time.monotonic()
        self._is_terminal = sys.stderr.isatty()

    def begin(self, step: str) -> None:
        """A step begins."""
        self._print(f"{self._position(step)} {step}, {self._rest()}")

    def detail(self, step: str, text: str) -> None:
        """The state within a step; for terminals only."""
        if self._is_terminal:
            self._print(f"{self._position(step)} {step}: {text}, {self._rest()}", end="")

    def end(self, step: str) -> None:
        """A step has ended."""
        self._done.add(step)

    def _position(self, step: str) -> str:
        steps = list(self._weights)
        return f"[{steps.index(step) + 1 if step in self._weights else 0}/{len(steps)}]"

    def _rest(self) -> str:
        done = sum(self._weights[one] for one in self._done if one in self._weights)
        rest = sum(self._weights.values()) - done
        spent = time.monotonic() - self._begun
        # The speed of this machine, once it is known well enough.
        factor = spent / done if done > 20 else 1.0
        seconds = rest * factor
        return (
            f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
        )

    def _print(self, line: str, end: str = "\n") -> None:
        if self._is_terminal:
            line = f"\r\033[K{line}"
        sys.stderr.write(line + end)
        sys.stderr.flush()
