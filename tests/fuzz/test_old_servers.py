"""Servers that are too old: a lasting refusal is raised, although something else has worked before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from leadership_core import Candidate, Lock, StoreHandle, open_store
from leadership_core.errors import ConfigurationError, StoreRefused
from tests.cli.command import run
from tests.fuzz.evil import EvilServer, Request, Wire, answer
from tests.fuzz.evil_etcd import EvilEtcd
from tests.fuzz.evil_zookeeper import EvilZooKeeper, Said
from tests.fuzz.plausible import Plausible
from tests.fuzz.ports import OTHER_SERVICES, WrongPort

UNIMPLEMENTED = -6


def test_a_zookeeper_without_create2_is_refused() -> None:
    """As 3.4 is; sessions open and are renewed there, and no node of a candidate can be made."""

    def old(name: str, _: str, said: Said) -> Said:
        return Said(error=UNIMPLEMENTED) if name == "create2" else said

    with EvilZooKeeper(old) as server, open_store(server.url) as store:
        begun = time.monotonic()
        with pytest.raises(ConfigurationError, match=r"ZooKeeper 3\.5 or later"):
            Candidate(store, "fuzz/key", "me", ttl=15.0).wait_elected(20.0)

    assert "create2" in server.asked
    assert time.monotonic() - begun < 10.0


@contextmanager
def _old_consul(refusal: Callable[[list[Any]], bytes]) -> Iterator[str]:
    """A Consul whose sessions work; its answer to a transaction is the refusal."""
    mind = Plausible()

    def say(request: Request, wire: Wire) -> bool:
        if request.path == "/v1/txn":
            wire.say(refusal(json.loads(request.body)))
            return True
        status, document, head = mind.say(request)
        wire.say(answer(status, json.dumps(document).encode(), head))
        return True

    with EvilServer(say) as server:
        yield server.url


def _unknown_verb(operations: list[Any]) -> bytes:
    what = f'unknown KV verb "{operations[0]["KV"]["Verb"]}"'
    document = {"Results": None, "Errors": [{"OpIndex": 0, "What": what}]}
    return answer("409 Conflict", json.dumps(document).encode())


def _forbidden(_: list[Any]) -> bytes:
    return answer("403 Forbidden", b"Permission denied")


@pytest.mark.parametrize(
    "refusal",
    [
        lambda _: answer("404 Not Found", b"404 page not found"),
        lambda _: answer("405 Method Not Allowed", b"method PUT not allowed"),
        _unknown_verb,
    ],
    ids=["404", "405", "verb"],
)
def test_a_consul_without_the_transactions_that_we_need_is_refused(
    refusal: Callable[[list[Any]], bytes],
) -> None:
    """Although sessions work there."""
    with _old_consul(refusal) as url, open_store(url) as store:
        begun = time.monotonic()
        with pytest.raises(ConfigurationError, match=r"Consul 1\.8 or later"):
            Candidate(store, "fuzz/key", "me", ttl=15.0).wait_elected(20.0)
    assert time.monotonic() - begun < 10.0


def test_an_etcd_before_3_4_is_refused() -> None:
    """By the version that it tells with its status."""

    def old(name: str, _: object, said: Any) -> Any:
        if name == "Status":
            said.version = "3.3.27"
        return said

    refused = pytest.raises(StoreRefused, match=r"it is etcd 3\.3\.27; etcd 3\.4 or later")
    with EvilEtcd(old) as server, open_store(server.url) as store, refused:
        Candidate(store, "fuzz/key", "me", ttl=15.0).wait_elected(20.0)


def _leading(store: StoreHandle) -> None:
    with Candidate(store, "fuzz/key", "me", ttl=15.0).leading(20.0):
        pass


_WAYS: dict[str, Callable[[StoreHandle], object]] = {
    "wait_elected": lambda store: Candidate(store, "fuzz/key", "me", ttl=15.0).wait_elected(20.0),
    "leading": _leading,
    "acquire": lambda store: Lock(store, "fuzz/lock", ttl=15.0).acquire(20.0),
}


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("service", OTHER_SERVICES)
@pytest.mark.parametrize("scheme", ["consul", "etcd", "zk"])
def test_the_port_of_another_service_is_refused_at_once(
    scheme: str, service: str, way: str
) -> None:
    """With what to check, and not after the whole timeout, as if another candidate led."""
    with WrongPort(OTHER_SERVICES[service]) as port:
        begun = time.monotonic()
        refused = pytest.raises(StoreRefused, match=r"check (host and )?(the )?port")
        with open_store(f"{scheme}://127.0.0.1:{port.port}") as store, refused:
            _WAYS[way](store)
        assert time.monotonic() - begun < 15.0


def test_check_stops_at_a_store_that_cannot_work() -> None:
    """At the first case, with the sentence and the exit code of a mistake in the configuration."""

    def old(name: str, _: str, said: Said) -> Said:
        return Said(error=UNIMPLEMENTED) if name == "create2" else said

    with EvilZooKeeper(old) as server:
        done = run("check", server.url, "--json", "--ttl", "15", timeout=40)
    assert done.code == 2
    assert "ZooKeeper 3.5 or later is needed" in done.err
    assert done.out.count('"case"') <= 1


def test_check_stops_at_a_store_that_refuses() -> None:
    """A case that meets it is the last one: the others would meet it as well."""
    with _old_consul(_forbidden) as url:
        done = run("check", url, "--json", "--ttl", "15", timeout=40)
    assert done.code == 4
    assert "denies permission" in done.err
    assert done.out.count('"case"') <= 1
