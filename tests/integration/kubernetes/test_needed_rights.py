"""The rules of `docs/operations.md`: all of them are enough, and each verb is needed."""

from __future__ import annotations

import itertools
import logging
import uuid
from urllib.parse import quote

import pytest
import yaml

from leadership_core import Candidate, open_store
from tests.support.permissions import USES, Rights, check, try_all
from tests.support.servers.kubernetes import Kubernetes
from tests.support.waiting import at_most

RIGHTS = Rights.of("Kubernetes")
_NUMBERS = itertools.count(1)


def new_namespace(cluster: Kubernetes) -> str:
    """A namespace for one Role: what one program creates another one need not."""
    return cluster.make_namespace(f"rights-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def namespace(shared_kubernetes: Kubernetes) -> str:
    return new_namespace(shared_kubernetes)


def url_with(cluster: Kubernetes, namespace: str, rules: list[dict[str, list[str]]]) -> str:
    """The URL of a new service account with a Role that has these rules."""
    file = cluster.user(f"{namespace}-{next(_NUMBERS)}", rules, namespace)
    return f"kubernetes:///{namespace}?kubeconfig={quote(str(file))}"


def rules_of(use: str) -> list[dict[str, list[str]]]:
    found: list[dict[str, list[str]]] = yaml.safe_load("\n".join(RIGHTS.lines[use]))
    return found


@pytest.mark.parametrize("use", [use for use in USES if use != "entries bound to a session"])
def test_listed_verbs_are_enough_and_needed(
    use: str, shared_kubernetes: Kubernetes, namespace: str
) -> None:
    """With each missing one the program gets the error of the page."""
    (rule,) = rules_of(use)
    verbs = rule["verbs"]
    without = {
        verb: url_with(
            shared_kubernetes,
            new_namespace(shared_kubernetes),
            [{**rule, "verbs": [v for v in verbs if v != verb] or ["patch"]}],
        )
        for verb in verbs
    }
    admin = shared_kubernetes.url_at(shared_kubernetes.port, namespace=namespace)
    url = url_with(shared_kubernetes, namespace, [rule])

    errors = try_all(use, url, without, admin)

    for verb, error in errors.items():
        assert any(text in error for text in RIGHTS.messages(f"`{verb}`")), (verb, error)


def test_check_needs_the_listed_verbs(shared_kubernetes: Kubernetes, namespace: str) -> None:
    """Without, it stops at the first contact."""
    (rule,) = rules_of("leadership check")
    none = url_with(shared_kubernetes, namespace, [{**rule, "verbs": ["patch"]}])

    refused = check(none)

    assert refused.returncode == 4
    assert RIGHTS.messages("`get`")[0] in refused.stderr


@pytest.mark.slow
def test_check_passes_with_the_listed_verbs(shared_kubernetes: Kubernetes, namespace: str) -> None:
    """All of the contract, and an election of four processes."""
    done = check(url_with(shared_kubernetes, namespace, rules_of("leadership check")))

    assert (done.returncode, done.stderr) == (0, ""), done


def test_role_for_one_lease_is_enough_for_its_election(
    shared_kubernetes: Kubernetes, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The Lease exists, and the stream is of that Lease alone."""
    caplog.set_level(logging.WARNING)
    admin = shared_kubernetes.url_at(shared_kubernetes.port, namespace=namespace)
    with open_store(admin) as store:
        store.put("my-controller", b"")
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["my-controller"],
        "verbs": ["get", "list", "watch", "update"],
    }
    url = url_with(shared_kubernetes, namespace, [rule])
    with open_store(url) as store, open_store(url) as other:
        first = Candidate(store, "my-controller", "a", ttl=2)
        second = Candidate(other, "my-controller", "b", ttl=2)
        assert first.wait_elected(5)
        second.run_for_election()
        assert first.resign(60)
        assert second.wait_elected(at_most(2))
        assert second.stop()
        assert first.stop()
    assert "every second" not in caplog.text
