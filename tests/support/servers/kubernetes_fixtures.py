"""Fixtures of the API servers of Kubernetes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.servers.fixture_tools import factory, started
from tests.support.servers.kubernetes import Kubernetes, KubernetesServer
from tests.support.servers.provision import Server
from tests.support.servers.requirements import found

__all__ = ["KubernetesFactory", "kubernetes_server", "shared_kubernetes"]


@pytest.fixture(scope="session")
def shared_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A cluster that all tests share; they use keys, namespaces and users of their own.

    It is the one that $LEADERSHIP_TEST_KUBERNETES (kubernetes://?kubeconfig=FILE) names, whose user
    has a token and may do everything; otherwise an API server and an etcd of our own.
    """
    url = os.environ.get("LEADERSHIP_TEST_KUBERNETES")
    if url:
        yield Kubernetes.named(url)
        return
    folder = tmp_path_factory.mktemp("kubernetes")
    with started(KubernetesServer(found("kubernetes"), found("etcd"), folder)) as running:
        yield running


class KubernetesFactory(Protocol):
    """Starts an API server with an etcd; the arguments are those of `KubernetesServer`."""

    def __call__(self, *, settings: dict[str, str] | None = None) -> KubernetesServer: ...


@pytest.fixture
def kubernetes_server(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[KubernetesFactory]:
    """Start API servers of the test's own, which it may stop, kill, freeze and restart."""

    def make(place: Server, folder: Path, **options: Any) -> KubernetesServer:
        return KubernetesServer(place, found("etcd"), folder, **options)

    yield from factory(request, tmp_path, "kubernetes", make)
