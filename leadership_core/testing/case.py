"""What the contract is made of: methods named `test_...` that take a lab."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..store import Capability
from .fault_proxy import Outage

if TYPE_CHECKING:
    from .lab import Lab

__all__ = ["LEAST", "Case", "Contract", "needs"]

LEAST = frozenset({Capability.SESSIONS})
"""What a store has that declares nothing."""

F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a store must do.

    Attributes:
        name: of the method, `test_...`.
        docstring: what it does, in one line.
        run: takes an open `Lab`; raises an AssertionError that says what was wrong.
    """

    name: str
    docstring: str
    run: Callable[[Lab], None]


def needs(*conditions: Capability | Outage) -> Callable[[F], F]:
    """Mark a case that needs a store with these capabilities, and a lab that makes these outages."""

    def mark(case: F) -> F:
        case.needs = frozenset(conditions)  # type: ignore[attr-defined]
        return case

    return mark


class Contract:
    """Base of the contract classes: takes the cases away whose conditions are not declared."""

    capabilities: ClassVar[frozenset[Capability]] = LEAST
    outages: ClassVar[frozenset[Outage]] = frozenset(Outage)

    def __init_subclass__(
        cls,
        *,
        capabilities: Iterable[str] = LEAST,
        outages: Iterable[str] = Outage,
        **rest: Any,
    ) -> None:
        super().__init_subclass__(**rest)
        cls.capabilities = frozenset(map(Capability, capabilities))
        cls.outages = frozenset(map(Outage, outages))
        for name, case in _cases(cls):
            if name not in vars(cls):
                # pytest collects nothing under a name that is None.
                is_met = _needs(case) <= cls.capabilities | cls.outages
                setattr(cls, name, case if is_met else None)

    @classmethod
    def cases(cls) -> list[Case]:
        """The cases for the declared capabilities, in the order in which they are written."""
        contract = cls()
        return [
            Case(name, inspect.getdoc(case) or name, getattr(contract, name))
            for name, case in _cases(cls)
            if getattr(cls, name) is not None
        ]


def _cases(cls: type) -> list[tuple[str, Callable[..., None]]]:
    found: dict[str, Callable[..., None]] = {}
    for base in reversed(cls.__mro__):
        members = vars(base).items()
        found |= {n: it for n, it in members if n.startswith("test_") and inspect.isfunction(it)}
    return list(found.items())


def _needs(case: Callable[..., None]) -> frozenset[Capability | Outage]:
    marked: frozenset[Capability | Outage] = getattr(case, "needs", frozenset())
    return marked
