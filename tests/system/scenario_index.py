"""Index of all scenarios, read from the marks of the tests in this folder."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.system.catalogue import FAULTS

__all__ = ["FOLDER", "Scenario", "modules", "scenarios"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Scenario:
    """One scenario test, which runs once on each of its kinds of stores.

    Attributes:
        number: of the fault.
        test: its function.
        file: where it is.
        kinds: of stores that it applies to.
        quick: those of them that are in the usual run.
    """

    number: int
    test: Callable[..., Any]
    file: Path
    kinds: tuple[str, ...]
    quick: frozenset[str]

    @property
    def name(self) -> str:
        """Without the "test_"."""
        return self.test.__name__.removeprefix("test_")

    @property
    def what(self) -> str:
        """The first line of its docstring."""
        return (self.test.__doc__ or "").strip().partition("\n")[0]


def modules() -> Iterator[ModuleType]:
    """The test modules of the folder."""
    for file in sorted(FOLDER.glob("test_*.py")):
        yield importlib.import_module(f"tests.system.{file.stem}")


def scenarios() -> list[Scenario]:
    """All scenarios by number; within a number, in the order of their files."""
    found = [
        _scenario(test, Path(inspect.getfile(test)))
        for module in modules()
        for test in vars(module).values()
        if getattr(test, "__module__", "") == module.__name__ and _marks(test, "fault")
    ]
    return sorted(found, key=lambda one: one.number)


def _scenario(test: Callable[..., Any], file: Path) -> Scenario:
    (number,) = (mark.args[0] for mark in _marks(test, "fault"))
    assert number in FAULTS
    kinds, quick = [], set()
    for mark in _marks(test, "parametrize"):
        if mark.args[0] == "kind":
            for one in mark.args[1]:
                kinds.append(getattr(one, "values", (one,))[0])
                if not any(each.name == "soak" for each in getattr(one, "marks", ())):
                    quick.add(kinds[-1])
    return Scenario(number, test, file, tuple(kinds), frozenset(quick))


def _marks(test: object, name: str) -> list[Any]:
    return [one for one in getattr(test, "pytestmark", []) if one.name == name]
