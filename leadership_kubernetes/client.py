"""The requests to the API of Leases; each method makes one.

See https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from leadership_core.backend import StoreUnavailable, clock

from .connection import Connection, Response
from .errors import Gone, Missing, NotKubernetes, refusal
from .lease import LABEL, Lease
from .observations import Observations
from .options import Options
from .transport import Transport

__all__ = ["Client", "Event", "Listed"]


@dataclass(frozen=True, slots=True)
class Listed:
    """Leases as they were at one version."""

    leases: list[Lease]
    version: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a watch.

    Attributes:
        lease: as it is now; None for a bookmark.
        deleted: whether it was deleted; `lease` is its last state then.
        version: from which a watch goes on.
    """

    lease: Lease | None
    deleted: bool
    version: str


class Client:
    """A client of one namespace; thread-safe.

    Every method blocks for `remaining_timeout` at most, and raises `StoreUnavailable` if there is
    no answer, or its subclass `StoreRefused` if Kubernetes refuses the request.

    Args:
        options: of the store.

    Attributes:
        observations: since when each Lease is unchanged, as the answers show.
    """

    def __init__(self, options: Options) -> None:
        self.observations: Observations = Observations()
        self._namespace = options.namespace
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{options.namespace}/leases"
        self._transport = Transport(options.cluster)

    def read(self, name: str) -> Lease | None:
        """Read a Lease, linearizably: without a resource version it is a read by quorum.

        See https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions.
        """
        sent = clock.now()
        response = self._transport.request("GET", f"{self._path}/{name}")
        try:
            return self._lease(f"read {name!r}", response, sent)
        except Missing:
            return None

    def ask(self, name: str) -> None:
        """Make a request that the server has to answer from its database, whatever it answers."""
        response = self._transport.request("GET", f"{self._path}/{name}")
        if response.status not in {200, 404, 403}:  # a Role may name the Leases that may be read
            self._raise("reach the cluster", response)
        _document("reach the cluster", response)

    def create(self, manifest: dict[str, Any]) -> Lease:
        """Create a Lease.

        Raises:
            Conflicted: there is one of that name.
        """
        sent = clock.now()
        response = self._transport.request("POST", self._path, body=_encoded(manifest))
        return self._lease(f"create {manifest['metadata']['name']!r}", response, sent)

    def update(self, manifest: dict[str, Any]) -> Lease:
        """Replace the Lease with the resource version that the object has.

        Raises:
            Conflicted: it has another version, or was deleted.
        """
        name, sent = manifest["metadata"]["name"], clock.now()
        response = self._transport.request("PUT", f"{self._path}/{name}", body=_encoded(manifest))
        return self._lease(f"write {name!r}", response, sent)

    def delete(self, lease: Lease) -> None:
        """Delete the Lease as it was read.

        Raises:
            Conflicted: it has another version.
            Missing: it does not exist.
        """
        metadata = lease.manifest["metadata"]
        guard = {"uid": metadata.get("uid"), "resourceVersion": metadata.get("resourceVersion")}
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": guard}
        response = self._transport.request(
            "DELETE", f"{self._path}/{lease.name}", body=_encoded(options)
        )
        if response.status >= 300:
            self._raise(f"delete {lease.name!r}", response)

    def list(self, name: str | None = None, *, managed: bool = False) -> Listed:
        """Read Leases, linearizably.

        Args:
            name: only the one of that name.
            managed: only those with our label.
        """
        sent = clock.now()
        response = self._transport.request(
            "GET", self._path, _selector(name, managed), is_list=True
        )
        doing = "list the Leases"
        if response.status != 200:
            self._raise(doing, response)
        document = _document(doing, response)
        try:
            # The items of a list do not say what they are, and a later write has to.
            kind = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1"}
            found = [Lease({**one, **kind}) for one in document.get("items") or ()]
            version = str(document["metadata"]["resourceVersion"])
        except (TypeError, LookupError, AttributeError) as error:
            raise NotKubernetes(f"cannot {doing}: the answer is not a list") from error
        for lease in found:
            self.observations.note(lease, sent=sent)
        return Listed(found, version)

    def watch(
        self, connection: Connection, version: str, seconds: int, name: str | None = None
    ) -> Iterator[Event]:
        """The events after a version, until the server ends the watch after `seconds`.

        Args:
            connection: from `new_connection`; aborting its deadline ends the watch.
            version: of a list or an event.
            seconds: for which the server may keep it open.
            name: only of the Lease of that name.

        Raises:
            Gone: the version is too old: list again.
            StoreUnavailable: the connection has ended.
        """
        query = {
            **_selector(name, managed=False),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        stream = self._transport.stream(connection, self._path, query)
        if isinstance(stream, Response):
            self._raise("watch the Leases", stream)
            return
        stream.expect_within(seconds + 5.0)
        for line in stream:
            yield self._event(line)

    def new_connection(self) -> Connection:
        """A connection for `watch`; raises StoreClosed."""
        return self._transport.new_connection()

    def close(self) -> None:
        self._transport.close()

    def after_fork_in_child(self) -> None:
        self._transport.after_fork_in_child()

    def _event(self, line: bytes) -> Event:
        try:
            document = json.loads(line)
            kind, found = document["type"], document["object"]
            if kind == "ERROR":
                if found.get("code") == 410:
                    raise Gone(str(found.get("message")))
                raise StoreUnavailable(f"a watch has ended: {found.get('message')!s:.200}")
            version = str(found["metadata"]["resourceVersion"])
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise NotKubernetes(f"a watch has no event of Kubernetes: {error!r:.200}") from error
        if kind == "BOOKMARK":
            return Event(None, deleted=False, version=version)
        lease = Lease(found)
        self.observations.note(lease)
        return Event(lease, kind == "DELETED", version)

    def _lease(self, doing: str, response: Response, sent: float) -> Lease:
        if response.status not in {200, 201}:
            self._raise(doing, response)
        lease = Lease(_document(doing, response))
        self.observations.note(lease, sent=sent)
        return lease

    def _raise(self, doing: str, response: Response) -> None:
        raise refusal(doing, response.status, response.body, namespace=self._namespace)


def _selector(name: str | None, managed: bool) -> dict[str, str]:
    query = {} if name is None else {"fieldSelector": f"metadata.name={name}"}
    return query | ({"labelSelector": f"{LABEL}=true"} if managed else {})


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _document(doing: str, response: Response) -> dict[str, Any]:
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise NotKubernetes(
            f"cannot {doing}: the answer is not that of a Kubernetes API server; check host and port"
        ) from error
    if not isinstance(found, dict):
        raise NotKubernetes(f"cannot {doing}: the answer is not an object of Kubernetes")
    return found
