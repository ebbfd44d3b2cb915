"""Tells a story step by step, to people or as JSON."""

from __future__ import annotations

import time

from . import console

__all__ = ["Narrator"]


class Narrator:
    """Prints each step at once.

    Args:
        as_json: one object a line instead of the text.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json

    def tell(self, step: str, text: str, **facts: object) -> None:
        """Print a step: for people the text, as JSON its name and the facts."""
        if self._json:
            console.put_record(time=round(time.time(), 6), step=step, **facts)
        else:
            console.put(text)
