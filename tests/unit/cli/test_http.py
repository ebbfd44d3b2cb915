"""`--http` of the commands."""

from __future__ import annotations

import json
import signal
import sys
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest
from prometheus_client.parser import text_string_to_metric_families

from leadership_core import ConfigurationError, Follower, Store
from leadership_core.cli.addresses import parse_address
from leadership_core.cli.arguments import Arguments
from leadership_core.cli.status import serving
from tests.support.servers.ports import free_port
from tests.support.waiting import eventually, wait_until
from tests.unit.cli.command import Start, run

_open = build_opener(ProxyHandler({})).open  # past the proxy of the environment


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with _open(f"http://127.0.0.1:{port}/{path}", timeout=20) as answer:
            return int(answer.status), answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.slow
def test_elect_and_follow_serve_their_status(start: Start, url: str) -> None:
    """Both show the same leader; the candidate shows its lease; stderr has the URL of the page."""
    ports = [free_port(), free_port()]
    node = start("elect", url, "key", "node-1", "--ttl", "3", "--json", "--http", str(ports[0]))
    node.wait_event("elected")
    observer = start("follow", url, "key", "--json", "--http", f"localhost:{ports[1]}")
    observer.wait(lambda line: line.said["leader"] == "node-1")
    wait_until(lambda: _get(ports[1], "leader")[0] == 200)
    led, seen = (json.loads(_get(port, "leader")[1]) for port in ports)
    page = _get(ports[0], "")
    metrics = _get(ports[0], "metrics")
    node.send(signal.SIGUSR1)
    node.wait_event("resigned")
    again = eventually(lambda: json.loads(_get(ports[0], "leader")[1])["token"] != led["token"])
    ended = node.end()
    wait_until(lambda: _get(ports[1], "leader")[0] == 404, what="the follower sees no leader")
    done = observer.end()

    assert (led["value"], led["me"], seen["value"], seen["me"]) == ("node-1", True, "node-1", False)
    assert seen["token"] == led["token"]
    assert page[0] == 200
    families = {one.name for one in text_string_to_metric_families(metrics[1])}
    assert {one for one in families if one.startswith("leadership_")}, families
    assert again
    assert "<title>Elections</title>" in page[1]
    assert (ended.code, done.code) == (0, 0)
    assert ended.err == f"leadership elect: status: http://127.0.0.1:{ports[0]}/\n"
    assert done.err == f"leadership follow: status: http://127.0.0.1:{ports[1]}/\n"


def test_page_is_served_without_prometheus_client(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    """In a checkout the observer for Prometheus can be found while the client that it needs is missing."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "leadership_prometheus", raising=False)
    port = free_port()
    arguments = Arguments("follow", http=("127.0.0.1", port))
    with serving(arguments, Follower(store, "key")):
        wait_until(lambda: _get(port, "readyz")[0] == 200)
        metrics = _get(port, "metrics")

    assert metrics[0] == 404
    assert "leadership[prometheus]" in metrics[1]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", ("127.0.0.1", 8080)),
        (":8080", ("127.0.0.1", 8080)),
        ("0", ("127.0.0.1", 0)),
        ("localhost:0", ("localhost", 0)),
        ("my-host.example:65535", ("my-host.example", 65535)),
        ("[::1]:8080", ("::1", 8080)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
        ("*:80", ("0.0.0.0", 80)),
    ],
)
def test_addresses_are_parsed(text: str, address: tuple[str, int]) -> None:
    """A port alone is one of the loopback address."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:", "::1:80", "a:65536", "a:-1", "a:1e3", "http://a:80", "a b:80", "a:\uff18"],
)
def test_other_addresses_are_refused(text: str) -> None:
    """The message shows the forms that are understood."""
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:8080"):
        parse_address(text)


@pytest.mark.parametrize("command", [["elect", "key", "node-1"], ["follow", "key"]])
def test_wrong_address_ends_the_command_at_once(command: list[str], url: str) -> None:
    """An address that cannot be used is a wrong usage, before the store is asked for anything."""
    for address in ("nonsense", "nowhere.invalid:80"):
        done = run(command[0], url, *command[1:], "--http", address)

        assert done.code == 2, done.err
        assert done.out == ""
        assert done.err.count("\n") == 1


def test_other_commands_have_no_such_option(url: str) -> None:
    """`leader` answers once, so it serves nothing."""
    assert run("leader", url, "key", "--http", "8080").code == 2
