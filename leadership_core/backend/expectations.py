"""What a write may expect of a key other than a certain entry: that it is not there, or nothing."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, TypeAlias

__all__ = ["ABSENT", "ANY", "Expectation"]


class _Expect(Enum):
    ANY = "any"
    ABSENT = "absent"


ANY: Final = _Expect.ANY
"""Write whatever is there."""


ABSENT: Final = _Expect.ABSENT
"""Write only if the key is not there."""

Expectation: TypeAlias = Literal[_Expect.ANY, _Expect.ABSENT]
