"""Program that times `is_leader` and one read of the clock in turn, and prints pairs in nanoseconds."""

from __future__ import annotations

import json
import sys
import time
import timeit

from leadership_core import Candidate, open_store

_CALLS = 20_000


def main() -> None:
    """Measure as many pairs as the first argument says."""
    with open_store("memory://") as store, Candidate(store, "key", "value") as candidate:
        candidate.wait_elected(10)
        names = {"candidate": candidate, "time": time}
        ours = timeit.Timer("candidate.is_leader", globals=names)
        clock = timeit.Timer("time.clock_gettime(time.CLOCK_MONOTONIC)", globals=names)
        pairs = [
            [one.timeit(_CALLS) / _CALLS * 1e9 for one in (ours, clock)]
            for _ in range(int(sys.argv[1]) + 1)
        ]
    sys.stdout.write(json.dumps(pairs[1:]) + "\n")


if __name__ == "__main__":
    main()
