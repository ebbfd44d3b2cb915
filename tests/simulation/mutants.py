"""Known mistakes of this field that the simulation is to find; they are those of `tests.mutants`."""

from __future__ import annotations

from tests.mutants.catalogue import CATALOGUE
from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS", "Mutant"]

MUTANTS = [mutant for mutant in CATALOGUE if mutant.backend]
