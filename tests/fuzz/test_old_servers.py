"""Servers that are too old: a lasting refusal is raised, although other requests have worked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from leadership_core import Candidate, Lock, Store, open_store
from leadership_core.errors import ConfigurationError, StoreRefused
from tests.fuzz.hostile_etcd import HostileEtcd
from tests.fuzz.hostile_server import HostileServer, Request, Wire, answer
from tests.fuzz.hostile_zookeeper import Answer, HostileZooKeeper
from tests.fuzz.ports import OTHER_SERVICES, WrongPort
from tests.fuzz.valid_replies import ValidReplies
from tests.support.waiting import at_most
from tests.unit.cli.command import run

UNIMPLEMENTED = -6


def test_zookeeper_without_create2_is_refused() -> None:
    """As on 3.4, where sessions work and no node of a candidate can be created."""

    def old(name: str, _: str, answered: Answer) -> Answer:
        return Answer(error=UNIMPLEMENTED) if name == "create2" else answered

    with HostileZooKeeper(old) as server, open_store(server.url) as store:
        begun = time.monotonic()
        with pytest.raises(ConfigurationError, match=r"ZooKeeper 3\.5 or later"):
            Candidate(store, "fuzz/key", "me", ttl=15.0).wait_elected(20.0)

    assert "create2" in server.asked
    assert time.monotonic() - begun < at_most(10.0)


@contextmanager
def _old_consul(refusal: Callable[[list[Any]], bytes]) -> Iterator[str]:
    """A Consul whose sessions work; its answer to a transaction is the refusal."""
    behaviour = ValidReplies()

    def say(request: Request, wire: Wire) -> bool:
        if request.path == "/v1/txn":
            wire.say(refusal(json.loads(request.body)))
            return True
        status, document, head = behaviour.say(request)
        wire.say(answer(status, json.dumps(document).encode(), head))
        return True

    with HostileServer(say) as server:
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
def test_consul_without_needed_transactions_is_refused(
    refusal: Callable[[list[Any]], bytes],
) -> None:
    """The error is raised although sessions work."""
    with _old_consul(refusal) as url, open_store(url) as store:
        begun = time.monotonic()
        with pytest.raises(ConfigurationError, match=r"Consul 1\.8 or later"):
            Candidate(store, "fuzz/key", "me", ttl=15.0).wait_elected(20.0)
    assert time.monotonic() - begun < at_most(10.0)


def test_etcd_before_3_4_is_refused() -> None:
    """The version in its status is checked."""

    def old(name: str, _: object, answered: Any) -> Any:
        if name == "Status":
            answered.version = "3.3.27"
        return answered

    refused = pytest.raises(StoreRefused, match=r"it is etcd 3\.3\.27; etcd 3\.4 or later")
    with HostileEtcd(old) as server, open_store(server.url) as store, refused:
        Candidate(store, "fuzz/key", "me", ttl=15.0).wait_elected(20.0)


def _leading(store: Store) -> None:
    with Candidate(store, "fuzz/key", "me", ttl=15.0).leading(20.0):
        pass


_WAYS: dict[str, Callable[[Store], object]] = {
    "wait_elected": lambda store: Candidate(store, "fuzz/key", "me", ttl=15.0).wait_elected(20.0),
    "leading": _leading,
    "acquire": lambda store: Lock(store, "fuzz/lock", ttl=15.0).acquire(20.0),
}


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("service", OTHER_SERVICES)
@pytest.mark.parametrize("scheme", ["consul", "etcd", "zk"])
def test_port_of_another_service_is_refused_at_once(scheme: str, service: str, way: str) -> None:
    """The error names the port to check, and comes before the timeout."""
    with WrongPort(OTHER_SERVICES[service]) as port:
        begun = time.monotonic()
        refused = pytest.raises(StoreRefused, match=r"check (host and )?(the )?port")
        with open_store(f"{scheme}://127.0.0.1:{port.port}") as store, refused:
            _WAYS[way](store)
        assert time.monotonic() - begun < at_most(15.0)


def test_check_stops_at_unsupported_server() -> None:
    """It stops at the first case, with the exit code of a configuration error."""

    def old(name: str, _: str, answered: Answer) -> Answer:
        return Answer(error=UNIMPLEMENTED) if name == "create2" else answered

    with HostileZooKeeper(old) as server:
        done = run("check", server.url, "--json", "--ttl", "15", timeout=40)
    assert done.code == 2
    assert "use ZooKeeper 3.5 or later" in done.err
    assert done.out.count('"case"') <= 1


def test_check_stops_at_refusing_server() -> None:
    """The case that meets the refusal is the last one."""
    with _old_consul(_forbidden) as url:
        done = run("check", url, "--json", "--ttl", "15", timeout=40)
    assert done.code == 4
    assert "denies permission" in done.err
    assert done.out.count('"case"') <= 1
