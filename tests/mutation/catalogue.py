"""Catalogue of all mutants."""

from __future__ import annotations

from . import (
    asynchronous,
    campaigns,
    claims,
    consul,
    etcd,
    gates,
    kubernetes,
    leases,
    leaving,
    observed,
    postgres,
    processes,
    queues,
    redis,
    stores,
    watching,
    zookeeper,
)
from .mutant import Mutant

__all__ = ["CATALOGUE", "SIMULATED", "SOUND", "named"]

CATALOGUE: tuple[Mutant, ...] = (
    *leases.MUTANTS,
    *campaigns.MUTANTS,
    *queues.MUTANTS,
    *leaving.MUTANTS,
    *gates.MUTANTS,
    *claims.MUTANTS,
    *watching.MUTANTS,
    *stores.MUTANTS,
    *observed.MUTANTS,
    *processes.MUTANTS,
    *asynchronous.MUTANTS,
    *consul.MUTANTS,
    *etcd.MUTANTS,
    *zookeeper.MUTANTS,
    *postgres.MUTANTS,
    *redis.MUTANTS,
    *kubernetes.MUTANTS,
)
"""In the order of the table."""

SIMULATED = tuple(mutant for mutant in CATALOGUE if mutant.backend)
"""Those that the simulation kills, too."""

SOUND = Mutant(
    "no mistake",
    "Nothing is wrong: all killers pass.",
    "",
    tuple(dict.fromkeys(killer for mutant in CATALOGUE for killer in mutant.killers)),
    (),
)
"""No mutation: shows that no killer fails by itself."""


def named(name: str) -> Mutant:
    """The mutant of that name; raises ValueError if there is none."""
    found = next((one for one in (*CATALOGUE, SOUND) if one.name == name), None)
    if found is None:
        raise ValueError(f"there is no mutant {name!r}; `python -m tests.mutation` lists them")
    return found
