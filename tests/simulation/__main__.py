"""`python -m tests.simulation --backend consul --seed 7 --trace` repeats one seed."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from math import inf

from .backends import BACKENDS
from .carrier_threads import CarrierThreads
from .plan import Plan
from .run import simulate
from .shrink import report


def main() -> int:
    """Run the seeds of the command line; 1 if any fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--backend", choices=[*BACKENDS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds")
    parser.add_argument("--trace", action="store_true", help="print each step")
    parser.add_argument("--faults", help="only the faults with these numbers")
    parser.add_argument(
        "--messages", type=float, default=inf, help="no network faults from that message on"
    )
    parser.add_argument("--shrink", action="store_true", help="find a smaller run that fails, too")
    args = parser.parse_args()
    carriers = CarrierThreads()
    failed = 0
    for backend in BACKENDS if args.backend == "all" else [args.backend]:
        begun = time.perf_counter()
        terms = 0
        for seed in range(args.seed, args.seed + args.runs):
            plan = Plan.of(seed, backend)
            if args.faults is not None:
                kept = [int(number) for number in args.faults.split(",") if number]
                plan = plan.only(kept, args.messages)
            outcome = simulate(plan, carriers, print if args.trace else None)
            terms += outcome.terms
            if args.runs == 1:
                print(f"digest {outcome.digest}, {outcome.steps} steps, {dict(outcome.faults)}")
            if outcome.error is None:
                continue
            failed += 1
            first = str(outcome.error).splitlines()[0]
            print(f"{backend} {seed}: {type(outcome.error).__name__}: {first}")
            if args.trace:
                traceback.print_exception(outcome.error)
            if args.shrink:
                print(report(outcome, carriers))
        took = time.perf_counter() - begun
        each = 60 * args.runs / took
        print(f"{backend}: {args.runs} runs, {failed} failed, {terms} terms, {each:.0f} a minute")
    carriers.close()
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
