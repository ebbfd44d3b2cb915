"""`leadership check` with some of its cases: the first word names them, with commas between."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from leadership_core.cli.check import runner as checkup
from leadership_core.cli.main import main
from leadership_core.testing import Case, contract_cases

WANTED = sys.argv[1].split(",")


def some_cases(capabilities: Iterable[str], outages: Iterable[str]) -> list[Case]:
    return [case for case in contract_cases(capabilities, outages) if case.name in WANTED]


if __name__ == "__main__":
    checkup.contract_cases = some_cases  # type: ignore[assignment, attr-defined]
    sys.exit(main(["check", *sys.argv[2:]]))
