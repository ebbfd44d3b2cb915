"""The Kubernetes store of `leadership`: ``kubernetes:///namespace``.

Elections are Leases in the record of Go's `leaderelection` package, so controllers that are written
with client-go can be candidates in the same elections.
See https://kubernetes.io/docs/concepts/architecture/leases/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leadership_core.backend import hookimpl

if TYPE_CHECKING:
    from leadership_core.backend import StoreBackend, StoreURL

__all__ = ["leadership_open_store"]


@hookimpl
def leadership_open_store(url: StoreURL) -> StoreBackend | None:
    """Open the store of a ``kubernetes://`` URL; makes no request.

    Raises:
        ConfigurationError: the URL is wrong, or a file that it names cannot be used.
    """
    if url.scheme != "kubernetes":
        return None
    from .store import KubernetesStore

    return KubernetesStore(url)
