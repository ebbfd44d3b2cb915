"""The store of the ZooKeeper backend, whose links go to a modelled ensemble."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from leadership_core.url import StoreURL
from leadership_zookeeper.store import ZooKeeperStore

from .kernel import Process
from .link_zookeeper import Link
from .model_zookeeper import TICK, Member, ZooKeeperServer
from .network import Link as Network
from .primitives import Threading

__all__ = ["open_zookeeper", "zookeeper_on_stage"]


class _Ordered(dict[Any, None]):
    """A set whose order does not depend on where in memory things are."""

    def __init__(self, things: Iterable[Any] = ()) -> None:
        super().__init__(dict.fromkeys(things))

    def add(self, thing: Any) -> None:
        self[thing] = None

    def discard(self, thing: Any) -> None:
        self.pop(thing, None)

    def union(self, *others: Iterable[Any]) -> _Ordered:
        return _Ordered(itertools.chain(self, *others))


@contextmanager
def zookeeper_on_stage() -> Iterator[None]:
    """While this lasts, the backend's links go to the ensemble of the run."""

    def link(*args: Any, **options: Any) -> Link:
        return Link(_networks[Threading.world.current.process], *args, **options)

    names = (SimpleNamespace(hex=f"{number:032x}") for number in itertools.count())
    with (
        mock.patch("leadership_zookeeper.reader.Link", link),
        mock.patch("leadership_zookeeper.session.Link", link),
        mock.patch("leadership_zookeeper.bell.set", _Ordered, create=True),
        mock.patch("leadership_zookeeper.claim.uuid", SimpleNamespace(uuid4=lambda: next(names))),
    ):
        yield
    _networks.clear()


_networks: dict[Process, tuple[Network, ZooKeeperServer, list[Member]]] = {}


def open_zookeeper(server: ZooKeeperServer, link: Network) -> ZooKeeperStore:
    """A store of the shipped backend, whose links go to that ensemble."""
    # Some know of one member only.
    known = server.members if server.rng.random() < 0.6 else [server.rng.choice(server.members)]
    _networks[link.process] = link, server, known
    return ZooKeeperStore(StoreURL.parse(f"zk://sim:2181?tick={TICK:g}"))
