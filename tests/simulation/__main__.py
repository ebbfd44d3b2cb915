"""`python -m tests.simulation --seed N --backend consul --trace` runs one seed again."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from .backends import BACKENDS
from .kernel import Hosts
from .run import Plan, simulate


def main() -> int:
    """Run what the command line asks for; 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--backend", choices=[*BACKENDS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--trace", action="store_true")
    args = parser.parse_args()
    hosts = Hosts()
    failed = 0
    for backend in BACKENDS if args.backend == "all" else [args.backend]:
        begun = time.perf_counter()
        terms = steps = 0
        for seed in range(args.seed, args.seed + args.runs):
            outcome = simulate(Plan.of(seed, backend), hosts, print if args.trace else None)
            terms += outcome.terms
            steps += outcome.steps
            if args.runs == 1:
                print(outcome)
            if outcome.error is not None:
                failed += 1
                print(
                    f"{backend} {seed}: {type(outcome.error).__name__}: {str(outcome.error)[:300]}"
                )
                if args.trace:
                    traceback.print_exception(outcome.error)
        took = time.perf_counter() - begun
        print(f"{backend}: {args.runs} runs, {terms} terms, {steps} steps, {took:.1f} s")
    hosts.close()
    return bool(failed)


sys.exit(main())
