"""`python -m tests.system`: make the page, list the scenarios, or run those of one fault.

python -m tests.system                  make the page of all runs that are kept
python -m tests.system --list           every scenario, and the stores that it applies to
python -m tests.system 6 --on etcd      run those of fault 6, on etcd
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from io import StringIO

import pytest

from tests.support.paths import ROOT
from tests.system.catalogue import EVERY, FAULTS
from tests.system.report import forget, write_page
from tests.system.scenario_index import FOLDER, scenarios


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.system")
    parser.add_argument("numbers", nargs="*", type=int, help="of the faults to run")
    parser.add_argument("--on", choices=EVERY, action="append", help="only on this store")
    parser.add_argument("--list", action="store_true", help="say which scenarios there are")
    args, more = parser.parse_known_args()
    if unknown := set(args.numbers) - set(FAULTS):
        parser.error(f"there are faults 1 to {max(FAULTS)}, not {unknown}")
    if args.list:
        list_all()
        return 0
    if not args.numbers:
        if more:
            parser.error(f"what is {more[0]}?")
        forget(collected())
        print(write_page())
        return 0
    kinds = frozenset(args.on or EVERY)
    wanted = [
        f"{one.file}::{one.test.__name__}"
        for one in scenarios()
        if one.number in args.numbers and not kinds.isdisjoint(one.kinds)
    ]
    if not wanted:
        parser.error("there is no such scenario; see --list")
    # By the ids of the parameters, which the workers of pytest-xdist understand, too.
    places = [f"{a}{kind}{b}" for kind in sorted(kinds) for a in "[-" for b in "]-"]
    words = ["--rootdir", str(ROOT), "-m", "", "-k", " or ".join(places)]
    return pytest.main([*words, *more, *wanted])


def collected() -> list[str]:
    """The ids of all tests of the folder."""
    found: list[str] = []

    class Collection:
        def pytest_collection_finish(self, session: pytest.Session) -> None:
            found.extend(item.nodeid for item in session.items)

    words = ["--rootdir", str(ROOT), "--collect-only", "-q", "-m", "fault", str(FOLDER)]
    with redirect_stdout(StringIO()) as output:
        code = pytest.main(words, plugins=[Collection()])
    assert code == 0, output.getvalue()
    return found


def list_all() -> None:
    """Print all scenarios; a star marks those in the usual run."""
    for number, what in FAULTS.items():
        print(f"{number:>2}  {what}")
        for one in scenarios():
            if one.number == number:
                kinds = " ".join(f"{kind}*" if kind in one.quick else kind for kind in one.kinds)
                print(f"      {one.name}  ({kinds})\n          {one.what}")


if __name__ == "__main__":
    sys.exit(main())
