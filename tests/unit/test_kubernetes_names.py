"""Names of Leases: keys that are names stay readable, and no two keys have the same one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from leadership_kubernetes.names import name_of

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@pytest.mark.parametrize("key", ["my-controller", "a", "a.b-c.d0", "kube-scheduler", "x" * 253])
def test_key_that_is_a_name_is_used_as_it_is(key: str) -> None:
    """A user of client-go finds the Lease under the name that the program has."""
    assert name_of(key) == key


@pytest.mark.parametrize(
    ("key", "begin"),
    [("jobs/17", "jobs-17.key-"), ("UPPER", "upper.key-"), ("日本", "key.key-"), ("-", "key.key-")],
)
def test_name_of_another_key_begins_with_its_readable_characters(key: str, begin: str) -> None:
    """A hash of the whole key follows."""
    assert name_of(key).startswith(begin)
    assert len(name_of(key)) == len(begin) + 32


def test_key_that_looks_like_an_encoded_name_is_encoded_itself() -> None:
    """It would have the name of another key."""
    encoded = name_of("jobs/17")

    assert name_of(encoded) != encoded


@given(st.lists(st.text(alphabet="abA/.-é0_", min_size=1, max_size=300), unique=True, max_size=20))
def test_every_key_has_a_valid_name_of_its_own(keys: list[str]) -> None:
    """Kubernetes takes it, and it belongs to one key."""
    names = [name_of(key) for key in keys]

    assert all(_SUBDOMAIN.fullmatch(name) and len(name) <= 253 for name in names)
    assert len(set(names)) == len(keys)
