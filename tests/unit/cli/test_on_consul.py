"""The command on a real Consul, for what embedded stores cannot show."""

from __future__ import annotations

import signal
import time
from functools import partial

import pytest

from tests.conftest import ConsulFactory
from tests.support.servers.consul import Consul, ConsulAgent
from tests.support.waiting import at_most
from tests.unit.cli.command import Line, Start, first_elected, run


def test_elect_hands_over_at_once_on_consul(start: Start, consul: Consul, unique_key: str) -> None:
    """From SIGTERM to elected it takes a few requests, and every follower reports it."""
    words = ["elect", consul.url, unique_key]
    nodes = [start(*words, name, "--ttl", "10", "--json") for name in ("a", "b", "c")]
    follower = start("follow", consul.url, unique_key, "--json")
    took = []
    while len(nodes) > 1:
        leader = first_elected(nodes)
        nodes.remove(leader)
        name, token = leader.lines[0].said["value"], leader.wait_event("elected").said["token"]
        follower.wait(partial(_has_token, token))
        assert run("leader", consul.url, unique_key).out == f"{name}\n"
        sent = leader.send(signal.SIGTERM)
        elected = first_elected(nodes).wait_event("elected")
        assert elected.said["token"] > token
        took.append(elected.at - sent)
        assert leader.process.wait(5) == 0
    print(f"SIGTERM to elected: {[f'{one * 1000:.1f} ms' for one in took]}")
    assert min(took) < at_most(0.1)
    assert max(took) < at_most(1.0)


def _has_token(token: int, line: Line) -> bool:
    return bool(line.said["token"] == token)


def test_ttl_that_the_server_refuses_is_wrong_usage(consul: Consul, unique_key: str) -> None:
    """The message has the numbers, and the command does not campaign on."""
    for words in (["elect", consul.url, unique_key, "value"], ["explain", consul.url]):
        done = run(*words, "--ttl", "0.5")
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert "session_ttl_min" in done.err


def test_explain_counts_a_ttl_twice_on_consul(consul: Consul) -> None:
    """Consul ends a session after two ttl at the latest."""
    lines = run("explain", consul.url, "--ttl", "10").out.splitlines()
    assert [
        line
        for line in lines
        if line.startswith("    20.00") and "after a crash of the leader, at most" in line
    ]


@pytest.fixture
def guarded(consul_server: ConsulFactory) -> ConsulAgent:
    return consul_server(dev=True, acl=True)


def _token(agent: ConsulAgent, rules: str) -> str:
    policy = agent.request("PUT", "/v1/acl/policy", {"Name": "part", "Rules": rules})
    assert policy.status == 200
    made = agent.request("PUT", "/v1/acl/token", {"Policies": [{"Name": "part"}]})
    return str(made.body["SecretID"])


def test_token_without_permission_is_an_error_at_once(
    guarded: ConsulAgent, unique_key: str
) -> None:
    """The exit code is 4 without waiting, whatever permission is missing; the token is not printed."""
    wrong = "11111111-2222-3333-4444-555555555555"
    half = _token(
        guarded, 'session_prefix "" { policy = "write" } key_prefix "" { policy = "read" }'
    )
    for words, tokens in {
        ("elect", unique_key, "value"): (wrong, half),
        ("follow", unique_key): (wrong,),
        ("leader", unique_key): (wrong,),
        ("explain",): (wrong,),
        ("demo",): (wrong,),
    }.items():
        for token in tokens:
            url = guarded.url_at(guarded.port, token=token)
            done = run(words[0], url, *words[1:], "--timeout", "10")
            assert done.code == 4, done
            assert done.seconds < at_most(5.0)
            assert done.err.count("\n") == 1, done.err
            assert "permission" in done.err.lower()
            assert token not in done.err + done.out


def test_elect_waits_for_a_store_that_goes_away(
    consul_server: ConsulFactory, start: Start, unique_key: str
) -> None:
    """The outage is among the events, and it is leader again without a restart."""
    agent = consul_server()
    node = start("elect", agent.url, unique_key, "a", "--ttl", "3", "--timeout", "1", "--json")
    token = node.wait_event("elected").said["token"]
    follower = start("follow", agent.url, unique_key, "--timeout", "1", "--json")
    follower.wait(lambda line: line.said["leader"] == "a")
    agent.kill()
    assert "error" in node.wait_event("store_down").said
    suspended = node.wait_event("suspended")
    assert suspended.said["token"] == token
    assert 0 < suspended.said["remaining"] < 3
    lost = node.wait_event("lost")
    assert (lost.said["token"], lost.said["reason"]) == (token, "expired")
    time.sleep(1.5)  # longer than --timeout: that is for the beginning only
    assert node.process.poll() is None
    agent.start()
    node.wait_event("store_up")
    again = node.wait(lambda line: line.event == "elected" and line.said["token"] != token, 20.0)
    follower.wait(partial(_has_token, again.said["token"]))
    done = follower.end()
    assert done.code == 0
    assert "the store is away" in done.err.splitlines()[0]
    assert done.err.splitlines()[-1].endswith("the store is back")
    assert node.end().code == 0
