"""The store of a run: where a counting proxy can be put before it."""

from __future__ import annotations

import pytest

from leadership_bench.servers import Target
from leadership_core import StoreURL


def _target(text: str) -> Target:
    return Target.of(StoreURL.parse(text), text, 3.0)


@pytest.mark.parametrize(
    ("url", "through"),
    [
        ("consul://10.0.0.1:8500", "consul://127.0.0.1:9"),
        ("kubernetes://10.0.0.1:6443/ns?kubeconfig=/f", "kubernetes://127.0.0.1:9/ns?kubeconfig=/f"),
        ("kubernetes://h:6443?context=kind", "kubernetes://127.0.0.1:9?context=kind"),
    ],
)  # fmt: skip
def test_proxy_takes_the_place_of_the_address(url: str, through: str) -> None:
    """The name in the certificate of a cluster is that of its kubeconfig file."""
    target = _target(url)

    assert target.can_have_proxy
    assert target.through(9).url == through


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kubernetes://?context=kind", "give it one server with its port"),
        ("kubernetes://a:6443,b:6443?kubeconfig=/f", "give it one server with its port"),
        ("kubernetes://:token@10.0.0.1:6443", "give it one server with its port"),
        ("consul+tls://10.0.0.1:8501", "TLS or several servers"),
    ],
)
def test_address_that_no_proxy_can_replace_is_named(url: str, said: str) -> None:
    """A certificate would not have the name of the proxy."""
    target = _target(url)

    assert not target.can_have_proxy
    assert said in target.why_no_proxy
