"""The store of the ZooKeeper backend on a modelled ensemble."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

from leadership_core.backend.url import StoreURL
from leadership_zookeeper.store import ZooKeeperStore

from .model_zookeeper import TICK, ZooKeeperServer
from .network import Link
from .patching import CLIENTS
from .transport_zookeeper import SimHandler, SimKazoo

__all__ = ["open_zookeeper", "zookeeper_patched"]


class _OrderedSet(dict[Any, None]):
    """A set whose order does not depend on addresses in memory."""

    def __init__(self, things: Iterable[Any] = ()) -> None:
        super().__init__(dict.fromkeys(things))

    def add(self, thing: Any) -> None:
        self[thing] = None

    def discard(self, thing: Any) -> None:
        self.pop(thing, None)

    def union(self, *others: Iterable[Any]) -> _OrderedSet:
        return _OrderedSet(itertools.chain(self, *others))


@contextmanager
def zookeeper_patched() -> Iterator[None]:
    """Let the backend's clients connect to the ensemble of the run."""
    with (
        CLIENTS.patched("leadership_zookeeper.client.Handler"),
        mock.patch("leadership_zookeeper.client.new_client", SimKazoo),
    ):
        yield


def open_zookeeper(server: ZooKeeperServer, link: Link) -> ZooKeeperStore:
    """A store of the shipped backend on that ensemble."""
    # Some processes know one member only.
    known = server.members if server.rng.random() < 0.6 else [server.rng.choice(server.members)]
    CLIENTS.register(link.process, partial(SimHandler, (link, server, known)))
    return ZooKeeperStore(StoreURL.parse(f"zk://sim:2181?tick={TICK:g}"))
