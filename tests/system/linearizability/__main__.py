"""Command that records histories of one store under faults, and judges them.

python -m tests.system.linearizability zookeeper --seed 7 --seconds 60
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.system.linearizability.run import run
from tests.system.linearizability.stages import STORES


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=STORES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="histories-"))
    with tempfile.TemporaryDirectory() as data:
        outcome = run(args.store, args.seed, args.seconds, folder, Path(data))
    print(f"{args.store}, seed {args.seed}: {outcome}\nhistories: {folder}")
    for problem in [*outcome.undecided, *outcome.problems]:
        print(problem)
    return 1 if outcome.problems or outcome.undecided else 0


if __name__ == "__main__":
    raise SystemExit(main())
