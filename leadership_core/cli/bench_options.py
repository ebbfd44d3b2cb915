"""Options of `leadership bench`."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple, Self

__all__ = ["BenchOptions", "add_bench_options"]


class BenchOptions(NamedTuple):
    """What `leadership bench` is to measure, and where the results go.

    Attributes:
        only: names of figures; empty for all.
        quick: whether less is measured.
        json_file: for the JSON document, "-" for stdout; empty for none.
        report: the Markdown page to write; empty for none.
        go_player: a program that measures Go's election; empty for none.
    """

    only: tuple[str, ...] = ()
    quick: bool = False
    json_file: str = ""
    report: str = ""
    go_player: str = ""

    @classmethod
    def of(cls, found: Any) -> Self:
        """Return those of a parsed command line; the defaults for a command without such options."""
        names = (name.strip() for text in getattr(found, "only", ()) for name in text.split(","))
        return cls(
            tuple(name for name in names if name),
            getattr(found, "quick", False),
            getattr(found, "json_file", ""),
            getattr(found, "report", ""),
            getattr(found, "go_player", ""),
        )


def add_bench_options(options: argparse._ArgumentGroup) -> None:
    """Add them to the options of a command."""
    options.add_argument(
        "--only", metavar="FIGURE", action="append", default=[],
        help="measure this figure only: calls, import, install, start, handover, follower, "
        "crash, traffic or scale; several with commas",
    )  # fmt: skip
    options.add_argument(
        "--quick", action="store_true", help="measure less, in a third of the time"
    )
    options.add_argument(
        "--json", metavar="FILE", dest="json_file", default="",
        help="write all values as one JSON document; - writes it to stdout in place of the tables",
    )  # fmt: skip
    options.add_argument(
        "--report", metavar="FILE", default="",
        help="write a page in Markdown, and its charts into a folder beside it",
    )  # fmt: skip
    options.add_argument(
        "--go-player", metavar="FILE", default="",
        help="program built from leadership_bench/go, to measure Go's concurrency.Election",
    )  # fmt: skip
