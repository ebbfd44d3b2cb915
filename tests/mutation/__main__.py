"""`python -m tests.mutation` lists the mutants, runs them, and writes their table."""

from __future__ import annotations

import argparse
import sys
import time

from . import table
from .catalogue import CATALOGUE, named
from .verdicts import judge


def main() -> int:
    """Run the command line; 1 if a mutant survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("names", nargs="*", help="mutants to run; none: list them all")
    parser.add_argument("--all", action="store_true", help="run all of them")
    parser.add_argument("--first", action="store_true", help="with the quickest killer only")
    parser.add_argument("--table", action="store_true", help="write the table into the docs")
    args = parser.parse_args()
    if args.table:
        print("written" if table.write() else "up to date")
        return 0
    if not args.names and not args.all:
        for mutant in CATALOGUE:
            print(f"{mutant.name}: {mutant.effect}")
        return 0
    survived, begun = 0, time.monotonic()
    for mutant in CATALOGUE if args.all else [named(name) for name in args.names]:
        killers = mutant.killers[:1] if args.first else mutant.killers
        for verdict in judge((mutant, killer) for killer in killers):
            print(verdict, flush=True)
            survived += not verdict.killed
    print(f"{survived} have survived; {time.monotonic() - begun:.0f} s")
    return survived > 0


if __name__ == "__main__":
    sys.exit(main())
