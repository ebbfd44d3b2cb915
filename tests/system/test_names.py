"""One DNS name with three addresses, the first of which does not serve."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from leadership_core import Candidate, open_store
from leadership_core.backend.deadline import DEFAULT_TIMEOUT
from leadership_core.errors import StoreUnavailable
from tests.support.backends import SERVERS
from tests.support.resolver import Names
from tests.support.servers.ports import free_port
from tests.support.servers.proxy import Proxy
from tests.support.waiting import at_most

NAME = "three.election.test"
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
TTL = 5.0
WATCHED = 1.3 * TTL  # a Consul ends the sessions of a server that it has lost 10 s later


class Site:
    """A cluster whose members have one name, with one address each at the same port.

    Attributes:
        first: the member at the first address, which is no leader of the cluster.
        url: with nothing but the name.
    """

    def __init__(self, kind: str, cluster: Any, stack: ExitStack, names: Names) -> None:
        self.cluster = cluster
        leader = cluster.leader()
        self.first = next(node for node in cluster.nodes if node is not leader)
        others = [node for node in cluster.nodes if node is not self.first]
        port = free_port()
        self.links = [
            stack.enter_context(Proxy(node.port, at=(address, port)))
            for node, address in zip([self.first, *others], ADDRESSES, strict=True)
        ]
        names.set(NAME, ADDRESSES)
        self.url = cluster.nodes[0].url_at(port).replace("127.0.0.1", NAME)
        self._kind = kind

    def fail(self, how: str) -> None:
        """Make the first member stop serving."""
        if how == "frozen":
            self.first.pause()
        elif how == "dead":
            self.first.kill()
            self.links[0].refuse()
        else:
            self.cluster.cut_off(self.first)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
def site(kind: str, names: Names, request: pytest.FixtureRequest) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(kind, request.getfixturevalue(f"{kind}_cluster"), stack, names)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["frozen", "dead", "without a leader"])
@pytest.mark.parametrize("kind", SERVERS)
def test_term_continues_without_first_address_of_hostname(site: Site, how: str) -> None:
    """It costs the time of one request, so a term goes on; a store that is opened then works."""
    with open_store(site.url) as store:
        candidate = Candidate(store, "service/leader", "Frank", ttl=TTL)
        term = candidate.wait_elected(TTL)
        assert term is not None

        site.fail(how)
        until = time.monotonic() + WATCHED
        while time.monotonic() < until:
            assert not term.lost
            time.sleep(0.01)

        with open_store(site.url) as later:
            _soon_writes(later)
            second = Candidate(later, "service/other", "Claire", ttl=TTL)
            began = time.monotonic()
            assert second.wait_elected(2 * TTL) is not None
            assert time.monotonic() - began < at_most(TTL)
            second.stop()
        candidate.stop()


@pytest.mark.parametrize("kind", SERVERS)
def test_changed_addresses_of_hostname_are_used(site: Site, names: Names) -> None:
    """The name has only the first address, and later only the others, which are found."""
    names.set(NAME, ADDRESSES[:1])
    with open_store(site.url) as store:
        store.put("k", b"1")
        site.first.pause()
        names.set(NAME, ADDRESSES[1:])
        _soon_writes(store)
        entry = store.get("k")
        assert entry is not None
        assert entry.value == b"1"


def _soon_writes(store: Any) -> None:
    """Check that a write takes one request's time and a moment for the broken connection."""
    until = time.monotonic() + 2 * DEFAULT_TIMEOUT + 1.0  # the cluster itself may be busy
    while True:
        try:
            store.put("service/data", b"1")
        except StoreUnavailable:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return
