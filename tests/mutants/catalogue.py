"""All mutants of the suite."""

from __future__ import annotations

from . import (
    campaigns,
    claims,
    consul,
    etcd,
    leases,
    leaving,
    processes,
    stores,
    watching,
    zookeeper,
)
from .mutant import Mutant

__all__ = ["CATALOGUE", "SOUND", "named"]

CATALOGUE: tuple[Mutant, ...] = (
    *leases.MUTANTS,
    *campaigns.MUTANTS,
    *leaving.MUTANTS,
    *claims.MUTANTS,
    *watching.MUTANTS,
    *stores.MUTANTS,
    *processes.MUTANTS,
    *consul.MUTANTS,
    *etcd.MUTANTS,
    *zookeeper.MUTANTS,
)
"""In the order of the table."""


SOUND = Mutant(
    "no mistake",
    "Nothing is wrong: all killers pass.",
    "",
    tuple(dict.fromkeys(killer for mutant in CATALOGUE for killer in mutant.killers)),
    (),
)
"""The product as it is, to see that no test fails of itself."""


def named(name: str) -> Mutant:
    """The mutant of that name; raises ValueError if there is none."""
    found = next((one for one in (*CATALOGUE, SOUND) if one.name == name), None)
    if found is None:
        raise ValueError(f"there is no mutant {name!r}; `python -m tests.mutants` lists them")
    return found
