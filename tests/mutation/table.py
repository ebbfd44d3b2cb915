"""Table of the mutants in `docs/testing.md`, generated from the catalogue."""

from __future__ import annotations

from pathlib import Path

from .catalogue import CATALOGUE
from .mutant import Mutant

__all__ = ["PAGE", "is_up_to_date", "rendered", "write"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"

_BEGIN = "<!-- the mutants: written by `python -m tests.mutation --table` -->"
_END = "<!-- the end of the mutants -->"


def rendered() -> str:
    """The table as Markdown."""
    rows = ["| mutant | what goes wrong | seen in | killed by |", "|---|---|---|---|"]
    rows += [_row(mutant) for mutant in CATALOGUE]
    return "\n".join([f"{len(CATALOGUE)} mutants.", "", *rows])


def is_up_to_date() -> bool:
    """Whether the page has the present table."""
    return _with_table(text := PAGE.read_text()) == text


def write() -> bool:
    """Write the table into the page; False if it is up to date."""
    if is_up_to_date():
        return False
    PAGE.write_text(_with_table(PAGE.read_text()))
    return True


def _with_table(text: str) -> str:
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{PAGE} has no place for the table: {_BEGIN} and {_END}")
    return f"{before}{begin}\n{rendered()}\n{end}{after}"


def _row(mutant: Mutant) -> str:
    killers = [f"`{killer.removeprefix('tests/')}`" for killer in mutant.killers]
    if mutant.backend:
        killers.append(f"simulation of `{mutant.backend}`")
    cells = [mutant.name, mutant.effect, mutant.seen, "<br>".join(killers)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
