"""A worker with a fault of `process_faults`: `python -m tests.support.faulty_worker MODULE.NAME[:HOW] ...`."""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Inject the fault, and run the worker."""
    what, *words = sys.argv[1:]
    path, _, how = what.partition(":")
    module, _, name = path.rpartition(".")
    # It comes before the worker, because it may change the clocks that the library takes.
    faulty = getattr(importlib.import_module(f"tests.support.process_faults.{module}"), name)(how)
    from tests.support import worker

    worker.main(words, faulty)


if __name__ == "__main__":
    main()
