"""Plants the mutant of a test in a process that the test has started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .verdicts import VARIABLE

__all__ = ["planted"]


@contextmanager
def planted() -> Iterator[None]:
    """While the mutant that the environment names, if any, is in the product."""
    name = os.environ.get(VARIABLE)
    if not name:
        yield
        return
    from .catalogue import named  # the product of a worker has only what it needs, otherwise

    with named(name).planted():
        yield
