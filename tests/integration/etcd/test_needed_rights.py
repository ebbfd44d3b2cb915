"""The grants of `docs/operations.md`: all of them are enough, and each one is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.conftest import EtcdFactory
from tests.support.permissions import USES, Rights, Variant, check, try_all
from tests.support.servers.etcd import EtcdServer

RIGHTS = Rights.of("etcd")
_NUMBERS = itertools.count(1)


@pytest.fixture
def server(etcd_server: EtcdFactory) -> EtcdServer:
    return etcd_server(auth=True)


def url_with(server: EtcdServer, grants: list[str]) -> str:
    """The URL of a new user whose role has these grants, as the page writes them."""
    user = f"user{next(_NUMBERS)}"
    server.cli("role", "add", user)
    for grant in grants:
        command, verb, action, role, *words = grant.split()
        assert (command, verb, action, role) == ("etcdctl", "role", "grant-permission", "worker")
        server.cli("role", "grant-permission", user, *words)
    server.cli("user", "add", f"{user}:pw")
    server.cli("user", "grant-role", user, user)
    return server.url_at(server.port, user=user, password="pw")


def variants(lines: list[str]) -> Iterator[Variant]:
    """Without each grant, without its prefix, and with the half of it."""
    for number, line in enumerate(lines):
        rest = lines[:number] + lines[number + 1 :]
        yield Variant(f"without {line}", rest, "the grant")
        yield Variant(
            f"no prefix: {line}", [*rest, line.replace("--prefix=true ", "")], "the grant"
        )
        if " readwrite " in line:
            yield Variant("read", [*rest, line.replace("readwrite", "read")], "`write`")
            yield Variant("write", [*rest, line.replace("readwrite", "write")], "`read`")


@pytest.mark.parametrize("use", USES)
def test_listed_grants_are_enough_and_needed(use: str, server: EtcdServer) -> None:
    """With each missing one the program gets the error of the page."""
    lines = RIGHTS.lines[use]
    missing = {one.what: one for one in variants(lines)}
    if use == "entries bound to a session":
        del missing["write"]  # binding alone reads nothing
    urls = {name: url_with(server, one.lines) for name, one in missing.items()}

    errors = try_all(use, url_with(server, lines), urls, server.url)

    for name, error in errors.items():
        assert any(text in error for text in RIGHTS.messages(missing[name].row)), (name, error)


def test_check_needs_the_listed_grants(server: EtcdServer) -> None:
    """It passes with them; without, it stops at the first contact."""
    lines = RIGHTS.lines["leadership check"]

    done = check(url_with(server, lines))
    refused = check(url_with(server, []))

    assert (done.returncode, done.stderr) == (0, ""), done
    assert refused.returncode == 4
    assert RIGHTS.messages("the grant")[0] in refused.stderr
