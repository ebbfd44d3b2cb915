"""Planting of the mutant in processes that a test starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .verdicts import VARIABLE

__all__ = ["planted"]


@contextmanager
def planted() -> Iterator[None]:
    """Plant the mutant that the environment names, if any, for the length of a `with` block."""
    name = os.environ.get(VARIABLE)
    if not name:
        yield
        return
    from .catalogue import named  # so that workers without a mutant import only what they need

    with named(name).planted():
        yield
