"""The ACL rules of `docs/operations.md`: all of them are enough, and each one is needed."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator

import pytest

from tests.conftest import ConsulFactory
from tests.support.permissions import USES, Rights, Variant, check, try_all
from tests.support.servers.consul import ConsulAgent

RIGHTS = Rights.of("Consul")
_NUMBERS = itertools.count(1)


@pytest.fixture
def agent(consul_server: ConsulFactory) -> ConsulAgent:
    return consul_server(dev=True, acl=True)


def url_with(agent: ConsulAgent, rules: list[str]) -> str:
    """The URL of a new token with these rules."""
    name, secret = f"policy{next(_NUMBERS)}", str(uuid.uuid4())
    policy = {"Name": name, "Rules": "\n".join(rules)}
    assert agent.request("PUT", "/v1/acl/policy", policy).status == 200
    token = {"SecretID": secret, "Policies": [{"Name": name}]}
    assert agent.request("PUT", "/v1/acl/token", token).status == 200
    return agent.url_at(agent.port, token=secret)


def variants(rules: list[str]) -> Iterator[Variant]:
    """Without each rule, and with `read` in place of `write`."""
    for number, rule in enumerate(rules):
        rest = rules[:number] + rules[number + 1 :]
        row = "`session_prefix`" if rule.startswith("session") else "`key`"
        yield Variant(f"without {rule}", rest, row)
        if '"write"' in rule:
            row = row if rule.startswith("session") else "`write`"
            yield Variant(f"read: {rule}", [*rest, rule.replace("write", "read")], row)


@pytest.mark.parametrize("use", USES)
def test_listed_rules_are_enough_and_needed(use: str, agent: ConsulAgent) -> None:
    """With each missing one the program gets the error of the page."""
    rules = RIGHTS.lines[use]
    missing = {one.what: one for one in variants(rules)}
    urls = {name: url_with(agent, one.lines) for name, one in missing.items()}

    errors = try_all(use, url_with(agent, rules), urls, agent.url)

    for name, error in errors.items():
        assert any(text in error for text in RIGHTS.messages(missing[name].row)), (name, error)


def test_check_needs_the_listed_rules(agent: ConsulAgent) -> None:
    """It passes with them; without the session it stops at the first contact."""
    rules = RIGHTS.lines["leadership check"]

    done = check(url_with(agent, rules))
    refused = check(url_with(agent, rules[:1]))

    assert (done.returncode, done.stderr) == (0, ""), done
    assert refused.returncode == 4
    assert RIGHTS.messages("`session_prefix`")[0] in refused.stderr
