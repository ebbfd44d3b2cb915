"""A worker that is odd in some way: `python -m tests.faults.odd_worker MODULE.NAME[:HOW] ...`."""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Make the worker of the scenarios odd, and run it."""
    what, *words = sys.argv[1:]
    path, _, how = what.partition(":")
    module, _, name = path.rpartition(".")
    # It comes before the worker, because it may change the clocks that the library takes.
    odd = getattr(importlib.import_module(f"tests.faults.oddities.{module}"), name)(how)
    from tests.scenarios import worker

    worker.main(words, odd)


if __name__ == "__main__":
    main()
