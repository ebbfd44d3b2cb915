"""A namespace that is deleted under its elections, to the end, and created again."""

from __future__ import annotations

import http.client
import uuid

import pytest

from leadership_core import Candidate, NotElected, open_store
from tests.support.servers.kubernetes import Kubernetes
from tests.support.waiting import at_most, wait_until


def _delete(cluster: Kubernetes, namespace: str) -> None:
    """Delete it as its controller does, which is no part of the API server: first what is in it."""
    path = f"/api/v1/namespaces/{namespace}"
    cluster.api("DELETE", path)
    for lease in cluster.api("GET", cluster.lease_path("", namespace))["items"]:
        cluster.api("DELETE", cluster.lease_path(lease["metadata"]["name"], namespace))
    terminating = cluster.api("GET", path)
    assert terminating["status"]["phase"] == "Terminating"
    terminating["spec"]["finalizers"] = []
    cluster.api("PUT", f"{path}/finalize", terminating)
    wait_until(lambda: not _exists(cluster, path), 5, "it is gone")


def _exists(cluster: Kubernetes, path: str) -> bool:
    try:
        cluster.api("GET", path)
    except http.client.HTTPException:
        return False
    return True


def test_election_goes_on_in_a_namespace_that_was_deleted_and_created_again(
    shared_kubernetes: Kubernetes, unique_key: str
) -> None:
    """The term ends at once, no candidate leads meanwhile, and the token of the next term is larger."""
    namespace = shared_kubernetes.make_namespace(f"short-{uuid.uuid4().hex[:8]}")
    url = shared_kubernetes.url_at(shared_kubernetes.port, namespace=namespace)
    with open_store(url) as store, open_store(url) as other:
        first, second = (
            Candidate(store, unique_key, "first", ttl=3),
            Candidate(other, unique_key, "second", ttl=3),
        )
        term = first.wait_elected(at_most(10))
        assert term is not None
        second.run_for_election()

        _delete(shared_kubernetes, namespace)

        assert term.wait_lost(at_most(2))
        for one in (first, second):
            with pytest.raises(NotElected, match=r"does not exist|is being deleted"):
                one.wait_elected(1.0)
        shared_kubernetes.make_namespace(namespace)
        wait_until(lambda: first.is_leader or second.is_leader, at_most(15), "one of them leads")
        newer = first.term or second.term
        assert newer is not None
        assert newer.token > term.token
        assert first.stop()
        assert second.stop()
