"""What the API server limits, refuses or forgets: 429, 410, 5xx, and namespaces that go."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadership_core import Candidate, open_store
from leadership_core.backend import (
    ConfigurationError,
    NotApplied,
    StoreRefused,
    StoreUnavailable,
    call_timeout,
    clock,
)
from leadership_kubernetes.lease import MAX_VALUE
from leadership_kubernetes.session import KubernetesSession
from leadership_kubernetes.store import KubernetesStore
from tests.conftest import KubernetesFactory
from tests.integration.kubernetes.conftest import Opener
from tests.integration.kubernetes.reverse_proxy import ReverseProxy
from tests.support.servers.kubernetes import Kubernetes
from tests.support.waiting import Seen, has_value, wait_until

_TOO_MANY = (429, {"Retry-After": "1"})


@pytest.fixture
def proxy(shared_kubernetes: Kubernetes) -> Iterator[ReverseProxy]:
    with ReverseProxy.before(shared_kubernetes) as running:
        yield running


@pytest.fixture
def limited(proxy: ReverseProxy, opened: Opener, tmp_path: Path) -> KubernetesStore:
    """A store behind the proxy."""
    return opened(f"kubernetes://?kubeconfig={proxy.kubeconfig(tmp_path / 'proxy.yaml')}")


def test_request_that_the_server_limits_is_sent_again_when_it_says(
    proxy: ReverseProxy, limited: KubernetesStore, unique_key: str
) -> None:
    """It was not processed, so a write may be sent again, too."""
    limited.get(unique_key)
    proxy.refusals.append(_TOO_MANY)
    before, begun = len(proxy.requests), clock.now()

    assert limited.get(unique_key) is None

    assert clock.now() - begun >= 1.0
    assert len(proxy.requests) - before == 2


def test_limit_that_leaves_no_time_is_not_applied(
    proxy: ReverseProxy, limited: KubernetesStore, unique_key: str
) -> None:
    """Nor is another request sent before the server allows it."""
    proxy.refusals.append((429, {"Retry-After": "30"}))
    with pytest.raises(NotApplied, match="too many requests"), call_timeout(0.5):
        limited.get(unique_key)
    before = len(proxy.requests)

    with pytest.raises(NotApplied, match="limits requests"), call_timeout(0.5):
        limited.put(unique_key, b"1")

    assert len(proxy.requests) == before


def test_leader_survives_a_short_limit(
    proxy: ReverseProxy, limited: KubernetesStore, unique_key: str
) -> None:
    """Its renewal is sent again in time."""
    session = limited.open_session(10)
    claim = limited.election(unique_key).enter(session, b"a")
    proxy.refusals.append(_TOO_MANY)

    assert session.renew() == 10

    assert limited.election(unique_key).leader() is not None
    assert claim.granted
    session.close()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_failure_of_the_server_leaves_the_outcome_unknown(
    status: int, proxy: ReverseProxy, limited: KubernetesStore, unique_key: str
) -> None:
    """A request that was answered like that may have been processed."""
    proxy.refusals += [(200, {}), (status, {})]
    del proxy.refusals[0]

    with pytest.raises(StoreUnavailable) as raised:
        limited.get(unique_key)

    assert not isinstance(raised.value, NotApplied | StoreRefused)


def test_watch_from_a_version_that_was_compacted_lists_again(
    kubernetes_server: KubernetesFactory, opened: Opener, unique_key: str
) -> None:
    """410 Gone: what has changed meanwhile is reported all the same."""
    server = kubernetes_server()
    store, seen = opened(server.url), Seen()
    store.watch(unique_key, seen)
    store.put(unique_key, b"1")
    seen.wait(has_value(b"1"))
    server.kill()
    server.start()
    server.etcd.compact()

    wait_until(lambda: _is_written(store, unique_key), 20)

    seen.wait(has_value(b"2"), 20)


def _is_written(store: KubernetesStore, key: str) -> bool:
    try:
        store.put(key, b"2")
    except StoreUnavailable:
        return False
    return True


def test_elections_go_on_when_the_server_was_restarted(
    kubernetes_server: KubernetesFactory, unique_key: str
) -> None:
    """The term survives a restart that is shorter than its ttl; a frozen server ends it in time."""
    server = kubernetes_server()
    with open_store(server.url) as store, open_store(server.url) as other:
        candidate = Candidate(store, unique_key, "a", ttl=30)
        term = candidate.wait_elected(10)
        assert term is not None
        rival = Candidate(other, unique_key, "b", ttl=30)
        rival.run_for_election()

        server.restart()

        assert not term.wait_lost(2)
        assert candidate.resign(60)
        assert rival.wait_elected(20) is not None
        assert rival.stop()
        short = Candidate(other, f"{unique_key}/short", "c", ttl=2)
        lease = short.wait_elected(10)
        assert lease is not None
        server.pause()
        assert lease.wait_lost(3)
        server.resume()
        again = short.wait_elected(20)
        assert again is not None
        assert again.token > lease.token
        assert short.stop()
        assert candidate.stop()


def test_namespace_that_does_not_exist_is_named(
    shared_kubernetes: Kubernetes, opened: Opener, unique_key: str
) -> None:
    """The message says which one; nothing creates it."""
    store = opened(shared_kubernetes.url_at(shared_kubernetes.port, namespace="nowhere"))

    with pytest.raises(StoreRefused, match="namespace 'nowhere' does not exist"):
        store.put(unique_key, b"1")
    with pytest.raises(StoreRefused, match="namespace 'nowhere' does not exist"):
        store.election(unique_key).enter(store.open_session(5), b"a")


def test_namespace_that_is_being_deleted_takes_no_new_election(
    shared_kubernetes: Kubernetes, opened: Opener, unique_key: str
) -> None:
    """A Lease that is there can still be renewed until it is deleted; a new one cannot be created."""
    namespace = shared_kubernetes.make_namespace(f"going-{uuid.uuid4().hex[:8]}")
    store = opened(shared_kubernetes.url_at(shared_kubernetes.port, namespace=namespace))
    session = store.open_session(30)
    election = store.election(unique_key)
    claim = election.enter(session, b"a")
    shared_kubernetes.api("DELETE", f"/api/v1/namespaces/{namespace}")

    session.renew()
    with pytest.raises(StoreRefused, match="is being deleted"):
        store.election(f"{unique_key}/new").enter(session, b"a")

    for lease in shared_kubernetes.api("GET", shared_kubernetes.lease_path("", namespace))["items"]:
        name = lease["metadata"]["name"]
        shared_kubernetes.api("DELETE", shared_kubernetes.lease_path(name, namespace))
    with pytest.raises(StoreRefused, match="is being deleted"):
        election.enter(session, b"b")
    assert claim.granted


def test_value_that_an_annotation_cannot_hold_is_refused(
    store: KubernetesStore, session: KubernetesSession, unique_key: str
) -> None:
    """Before any request, with the limit."""
    assert store.put(unique_key, b"\xff" * MAX_VALUE).value == b"\xff" * MAX_VALUE
    with pytest.raises(ConfigurationError, match=str(MAX_VALUE)):
        store.put(unique_key, b"x" * (MAX_VALUE + 1))
    with pytest.raises(ConfigurationError, match=str(MAX_VALUE)):
        store.election(f"{unique_key}/e").enter(session, b"x" * (MAX_VALUE + 1))


def test_watches_of_many_keys_share_one_stream(
    proxy: ReverseProxy, limited: KubernetesStore, unique_key: str
) -> None:
    """The first one has a stream of its own, and all of them one of the namespace."""
    seen = [Seen() for _ in range(10)]
    for number, one in enumerate(seen):
        limited.watch(f"{unique_key}/{number}", one)
    for number, one in enumerate(seen):
        limited.put(f"{unique_key}/{number}", b"1")
        one.wait(has_value(b"1"))
    time.sleep(0.2)

    streams = [one for one in proxy.requests if "watch=true" in one]

    assert len(streams) <= 3
    mine = [one.name for one in threading.enumerate() if one.name.startswith("leadership-kub")]
    assert len(mine) <= 2
