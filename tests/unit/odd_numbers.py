"""Values that are no number of seconds."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import inf, nan


class Unprintable:
    """An object without a printable form."""

    def __repr__(self) -> str:
        raise ValueError("no text")


NO_SECONDS = [
    nan, inf, -inf, True, "15", None, [15], 10**400, 10**5000, -(10**5000), Decimal(15),
    Decimal("nan"), Fraction(15), Fraction(10**5000, 3), 15j, Unprintable(),
]  # fmt: skip


def name_of(odd: object) -> str:
    """Return the name of its class, for the id of a test."""
    return type(odd).__name__
