"""`python -m tests.updates --place etcd --guard fence --seconds 30 --seed 7` prints the figures."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from tests.updates.counters import GUARDS
from tests.updates.run import MEMBERS, run
from tests.updates.stores import STORES, linked, served


def main() -> int:
    """Run what the command line asks for; 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.updates")
    parser.add_argument("--place", choices=[*STORES, "all"], default="all")
    parser.add_argument("--guard", choices=[*GUARDS, "both"], default="both")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--links", action="store_true", help="cut and reset connections, too")
    args = parser.parse_args()
    wrong = 0
    for kind in STORES if args.place == "all" else [args.place]:
        for guard in GUARDS if args.guard == "both" else [args.guard]:
            wrong += not _run(kind, guard, args.seed, args.seconds, links=args.links)
    return bool(wrong)


def _run(kind: str, guard: str, seed: int, seconds: float, *, links: bool) -> bool:
    """Run one, and say whether it went as it should; the diaries of one that did not are kept."""
    memory = Path("/dev/shm")  # the disk of a virtual machine may take seconds over a commit
    folder = Path(mkdtemp(prefix="updates-", dir=memory if memory.is_dir() else None))
    begun = time.monotonic()
    with (
        served(kind, folder) as (place, server),
        linked(server if links else None, MEMBERS) as ways,
    ):
        outcome = run(place, guard, seed, seconds, folder, ways)
    took = time.monotonic() - begun
    print(f"{kind} {guard} seed {seed}, {took:.0f} s: {outcome}", flush=True)
    verdict = outcome.verdict
    as_expected = verdict.lost > 0
    if guard == "fence":
        as_expected = not outcome.problems and verdict.stale > 0
        print("\n".join(outcome.problems[:20]), end="\n" if outcome.problems else "")
    if as_expected:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"not as it should be; the diaries are in {folder}")
    return as_expected


if __name__ == "__main__":
    sys.exit(main())
