"""An operator of Kubernetes, and a reader of the holder of an election there, without this library."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from typing import Any

from tests.support.servers.kubernetes import Kubernetes
from tests.support.store_observer import Holder

__all__ = ["KubernetesAdmin", "KubernetesReader"]


class KubernetesAdmin:
    """An operator with `kubectl`, in the namespace `default`; see `admin_tools.AdminTools`.

    A claim is a Lease with a holder, so what names a session here is the identity of a holder.
    """

    def __init__(self, server: Kubernetes) -> None:
        self._server = server

    def holder(self, key: str) -> object:
        lease = _lease_of(self._server, key)
        return (lease and lease["spec"].get("holderIdentity")) or None

    def sessions(self) -> set[object]:
        holders = (one["spec"].get("holderIdentity") for one in _leases(self._server))
        return {holder for holder in holders if holder}

    def end(self, session: object) -> None:
        for lease in _leases(self._server):
            if lease["spec"].get("holderIdentity") == session:
                self._hold(lease["metadata"]["name"], "")

    def end_session(self, key: str) -> None:
        self.end(self.holder(key))

    def delete(self, key: str) -> None:
        self._server.api("DELETE", self._server.lease_path(self._name(key)))

    def overwrite(self, key: str, value: str) -> None:
        self._hold(self._name(key), value)

    def delete_all(self, key: str) -> None:
        self.delete(key)

    def writes(self) -> int:
        return int(
            self._server.api("GET", self._server.lease_path())["metadata"]["resourceVersion"]
        )

    def _hold(self, name: str, identity: str) -> None:
        self._server.change_lease(name, {"spec": {"holderIdentity": identity}})

    def _name(self, key: str) -> str:
        lease = _lease_of(self._server, key)
        assert lease, f"there is no Lease of {key}"
        return str(lease["metadata"]["name"])


class KubernetesReader:
    """Reads the Lease by quorum; another program that holds it is no candidate."""

    def __init__(self, servers: Sequence[Kubernetes], key: str) -> None:
        self._servers, self._key, self._name = servers, key, ""

    def read(self) -> list[Holder | None]:
        lease = self._lease()
        if lease is None:
            return [None]
        notes = lease["metadata"].get("annotations") or {}
        token, _, holder = _words(notes.get("leadership/term", ""))
        if not holder or lease["spec"].get("holderIdentity") != holder:
            return [None]
        return [Holder(int(token), notes.get("leadership/leader", ""))]

    def close(self) -> None:
        """Nothing is kept open."""

    def _lease(self) -> dict[str, Any] | None:
        server = self._servers[0]
        if not self._name:
            found = _lease_of(server, self._key)
            self._name = str(found["metadata"]["name"]) if found else ""
            return found
        try:
            return server.lease(self._name)
        except http.client.HTTPException as error:
            if ": 404 " in str(error):
                return None
            raise


def _words(term: str) -> tuple[str, str, str]:
    token, _, rest = term.partition(" ")
    transitions, _, holder = rest.partition(" ")
    return token, transitions, holder


def _leases(server: Kubernetes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.api("GET", server.lease_path())["items"]
    return found


def _lease_of(server: Kubernetes, key: str) -> dict[str, Any] | None:
    """The Lease of a key, which its annotation names; its own name may be another."""
    for lease in _leases(server):
        if (lease["metadata"].get("annotations") or {}).get("leadership/key") == key:
            return lease
    return None
