"""The simulated elections, each on a model of its server."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from leadership_core.backend.protocols import StoreBackend

from .client_etcd import open_etcd
from .client_zookeeper import open_zookeeper, zookeeper_patched
from .kernel import World
from .model_consul import ConsulServer, open_consul
from .model_etcd import EtcdServer
from .model_observed import ObservedServer, ObservedStore, epochs_patched
from .model_store import ModelServer, ModelStore
from .model_zookeeper import TICK, ZooKeeperServer
from .network import Link
from .patching import CLIENTS
from .server import Server

__all__ = ["BACKENDS", "Backend"]


@dataclass(frozen=True, slots=True)
class Backend:
    """One election.

    Attributes:
        packages: those that are patched.
        server: makes its server.
        open: opens a store on it for one process.
        expires: seconds after which a session of that ttl is gone at the latest.
        copies: whether its network may deliver a request twice.
        slowest: rate of the slowest clock, in relation to the server's. The margin is a tenth of
            the ttl, unless another effect has used it up.
        parts: whether it has members that can be cut off from one another.
        places: how many candidates of a process may have a claim at a time.
        patched: further patches for the time of a run.
    """

    packages: tuple[str, ...]
    server: Callable[[World, random.Random], Server]
    open: Callable[[Any, Link], StoreBackend]
    expires: Callable[[float, Server], float]
    copies: bool = False
    slowest: float = 0.905
    parts: bool = False
    places: int = 1
    patched: Callable[[], AbstractContextManager[None]] = nullcontext


def _most(ttl: float, server: Server) -> float:
    return ttl * server.most


BACKENDS: dict[str, Backend] = {
    "default": Backend(
        ("leadership_core",),
        lambda world, rng: ModelServer(world, rng, counts=True),
        ModelStore,
        _most,
    ),
    "epochs": Backend(
        ("leadership_core",),
        lambda world, rng: ModelServer(world, rng, counts=False),
        ModelStore,
        _most,
    ),
    # The clocks of two processes are compared here, so they may differ by a tenth from each other.
    "observed": Backend(
        ("leadership_core",),
        lambda world, rng: ObservedServer(world, rng, counts=True),
        ObservedStore,
        lambda ttl, server: 1.2 * ttl + 2.5,
        slowest=0.992,
        patched=epochs_patched,
    ),
    "observed-epochs": Backend(
        ("leadership_core",),
        lambda world, rng: ObservedServer(world, rng, counts=False),
        ObservedStore,
        lambda ttl, server: 1.2 * ttl + 2.5,
        slowest=0.992,
        patched=epochs_patched,
    ),
    "consul": Backend(
        ("leadership_core", "leadership_consul"),
        ConsulServer,
        open_consul,
        lambda ttl, server: 2 * ttl + server.lock_delay,  # type: ignore[attr-defined]
        copies=True,
        patched=lambda: CLIENTS.patched("leadership_consul.store.Client"),
    ),
    "etcd": Backend(
        ("leadership_core", "leadership_etcd"),
        EtcdServer,
        open_etcd,
        lambda ttl, server: ttl + 0.5,
        copies=True,
        places=2,
        patched=lambda: CLIENTS.patched("leadership_etcd.store.Client"),
    ),
    "zookeeper": Backend(
        ("leadership_core", "leadership_zookeeper"),
        ZooKeeperServer,
        open_zookeeper,
        lambda ttl, server: ttl + TICK,
        patched=zookeeper_patched,
        slowest=1.0,
        parts=True,
        places=2,
    ),
}
