"""Cases of the contract: methods named `test_...` that take a sandbox, and their conditions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..backend.protocols import Capability
from .fault_proxy import Outage

if TYPE_CHECKING:
    from .sandbox import Sandbox

__all__ = ["LEAST", "Case", "Contract", "needs"]

LEAST = frozenset({Capability.SESSIONS})
"""The capabilities of a store that declares none."""

F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Case:
    """One behaviour that a store must have.

    Example:
        >>> for case in contract_cases({Capability.SESSIONS}, outages=()):
        ...     with Sandbox("mine://host") as sandbox:
        ...         case.run(sandbox)

    Attributes:
        name: name of the method, `test_...`.
        docstring: the behaviour, in one line.
        run: takes an open `Sandbox`; raises an AssertionError that says what was wrong.
    """

    name: str
    docstring: str
    run: Callable[[Sandbox], None]


def needs(*conditions: Capability | Outage) -> Callable[[F], F]:
    """Mark a case that needs these capabilities of the store, and these outages of the sandbox."""

    def mark(case: F) -> F:
        case.needs = frozenset(conditions)  # type: ignore[attr-defined]  # a function has no declared attributes
        return case

    return mark


class Contract:
    """Base of the contract classes: removes the cases whose conditions are not declared."""

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
                is_met = getattr(case, "needs", frozenset()) <= cls.capabilities | cls.outages
                setattr(cls, name, case if is_met else None)

    @classmethod
    def cases(cls) -> list[Case]:
        """Return the cases for the declared capabilities, in the order of the source."""
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
