"""Command that runs the load tests in their full size.

python -m tests.system.load soak --on etcd --seconds 7200
python -m tests.system.load restart --on consul
python -m tests.system.load reconnect --on zookeeper --outage paused
python -m tests.system.load constants      measures what docs/scale.md computes with
python -m tests.system.load largest        simulates its largest case
python -m tests.system.load write          writes the tables of docs/scale.md from the files of these two
"""

from __future__ import annotations

import argparse
from functools import partial

from tests.system.load import scale
from tests.system.load.crowds import OUTAGES, Crowd, CrowdOutcome, reconnect, rolling_restart
from tests.system.load.page import keep
from tests.system.load.soak import Soak, SoakOutcome, run_soak
from tests.system.load.stores import LOADED

report = partial(print, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = ("soak", "restart", "reconnect", "constants", "largest", "write")
    parser.add_argument("what", choices=names)
    parser.add_argument("--on", choices=LOADED, action="append", help="only this store")
    parser.add_argument("--seconds", type=float, default=7200.0, help="of the soak")
    parser.add_argument("--term", type=float, default=1.0, help="seconds, of the soak")
    parser.add_argument("--outage", choices=OUTAGES, default="refused")
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--on-one-store", type=int, default=10, help="candidates, of reconnect")
    parser.add_argument("--case", choices=scale.CASES, action="append", help="of the largest")
    parser.add_argument("--ttl", type=float, default=10.0)
    args = parser.parse_args()
    kinds = args.on or list(LOADED)
    if args.what == "constants":
        scale.write_constants(kinds, report)
    elif args.what == "largest":
        scale.write_largest(report, args.case or [])
    elif args.what == "write":
        scale.write_page()
    faults = []
    for kind in kinds if args.what in {"soak", "restart", "reconnect"} else []:
        outcome: SoakOutcome | CrowdOutcome
        if args.what == "soak":
            outcome = run_soak(Soak(kind, args.seconds, term=args.term), report)
        elif args.what == "restart":
            outcome = rolling_restart(Crowd(kind, args.processes, ttl=args.ttl), report)
        else:
            crowd = Crowd(
                *(kind, args.processes),
                candidates=500 // args.processes,
                on_one_store=args.on_one_store,
                ttl=args.ttl,
            )
            outcome = reconnect(crowd, args.outage, report)
        report(keep(outcome))
        for fault in outcome.faults:
            report(f"{kind}: {fault}")
        faults += outcome.faults
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
