"""Nodes of ZooKeeper as key-value pairs, and the requests for them.

A node without data, which differs from a node with empty data, is a folder: it exists for the
entries below it, and is no entry itself.
See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#sc_zkDataModel_znodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from kazoo.exceptions import NoNodeError

from leadership_core.backend import Entry, Leader, StoreRefused, StoreUnavailable

from .client import Client, Request
from .errors import unexpected_response
from .recipe import Recipe
from .session import session_id
from .shared_client import SharedClient

__all__ = [
    "MAX_VALUE",
    "NO_SESSION",
    "PIN_SUFFIX",
    "KeyValue",
    "NodeReader",
    "check_size",
    "create",
    "create_folders",
    "delete",
    "exists",
    "get_children",
    "get_data",
    "is_pin",
    "parent_of",
    "parse_leader",
    "path_of",
]

MAX_VALUE = 1_040_000
"""Bytes; a server breaks the connection for a request of more than 1 MiB (jute.maxbuffer)."""

NO_SESSION = frozenset({0, -(2**63)})
"""The ephemeral owner of a persistent node, and of a container."""

PIN_SUFFIX = "__pin__"
"""End of the names of temporary nodes that keep their parents from being deleted; see `node_pin`."""

_TRIES = 20


def check_size(key: str, value: bytes) -> None:
    """Check that a server accepts a value of this length.

    Raises:
        StoreRefused: it is too long.
    """
    if len(value) > MAX_VALUE:
        raise StoreRefused(
            f"cannot write {key!r}: ZooKeeper takes {MAX_VALUE} bytes at most, "
            f"and these are {len(value)}"
        )


def path_of(key: str) -> str:
    """The path of a key's node; the root for an empty key."""
    return f"/{key}"


def is_pin(name: str) -> bool:
    """Whether a node of this name is a pin, not a folder or an entry."""
    return name.endswith(PIN_SUFFIX)


def parent_of(path: str) -> str:
    """The path of the parent node."""
    return path.rpartition("/")[0] or "/"


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A node at one moment; the attributes are those of ZooKeeper's stat.

    Attributes:
        path: absolute.
        data: None for a folder.
        version: number of writes since its creation.
        mzxid: id of the transaction that wrote its data last.
        ephemeral_owner: number of the session that it is bound to, or one of `NO_SESSION`.
        child_count: number of its children.
    """

    path: str
    data: bytes | None
    version: int
    mzxid: int
    ephemeral_owner: int
    child_count: int

    @classmethod
    def parse(cls, path: str, answer: Any) -> Self | None:
        """Parse the answer to `get_data`; None if the node does not exist.

        Raises:
            StoreUnavailable: no node has such a stat.
        """
        if isinstance(answer, Exception):
            return None
        data, stat = answer
        # The root was created by no transaction, so its czxid is 0.
        if not (
            0 <= stat.czxid <= stat.mzxid
            and min(stat.version, stat.numChildren, stat.dataLength) >= 0
        ):
            raise unexpected_response(f"read {path[1:]!r}", ValueError("invalid numbers of a node"))
        return cls(path, data, stat.version, stat.mzxid, stat.ephemeralOwner, stat.numChildren)

    @property
    def entry(self) -> Entry | None:
        """The entry that is stored in it; None for a folder."""
        if self.data is None or self.path == "/":
            return None
        bound = self.ephemeral_owner not in NO_SESSION
        session = session_id(self.ephemeral_owner) if bound else None
        return Entry(self.path[1:], self.data, self.mzxid, session)


# -- requests -----------------------------------------------------------------------------------


def get_data(path: str, watch: Any = None) -> Request:
    """Request the data and the stat of a node; the watch fires when it is written or deleted."""
    return lambda kazoo: kazoo.get_async(path, watch=watch)


def exists(path: str, watch: Any = None) -> Request:
    """Request the stat of a node, or None; the watch fires when it is created, too."""
    return lambda kazoo: kazoo.exists_async(path, watch=watch)


def get_children(path: str, watch: Any = None) -> Request:
    """Request the names of a node's children; the watch fires when one is created or deleted."""
    return lambda kazoo: kazoo.get_children_async(path, watch=watch)


def create(path: str, data: bytes | None, *, ephemeral: bool = False) -> Request:
    """Request the creation of a persistent node, or of one that is bound to the session."""
    return lambda kazoo: kazoo.create_async(path, data, ephemeral=ephemeral)


def delete(path: str, version: int = -1) -> Request:
    """Request the deletion of a node of this version, or of any."""
    return lambda kazoo: kazoo.delete_async(path, version)


def create_folders(client: Client, path: str) -> None:
    """Create a folder and its missing parents.

    From the bottom up, since the user may have no permission for the nodes near the root.
    """
    missing = []
    while path != "/":
        (answer,) = client.request(f"create the folder {path!r}", create(path, None))
        if not isinstance(answer, NoNodeError):
            break
        missing.append(path)
        path = parent_of(path)
    if missing:
        wanted = [create(one, None) for one in reversed(missing)]
        client.request(f"create the folder {missing[0]!r}", *wanted)


class NodeReader:
    """Linearizable reads with the store's shared client; thread-safe.

    Attributes:
        chroot: the prefix of the URL, which precedes every key.
        recipe: of the URL, for elections.
    """

    def __init__(self, shared_client: SharedClient, chroot: str, recipe: Recipe) -> None:
        self.chroot = chroot
        self.recipe = recipe
        self._shared_client = shared_client

    @property
    def client(self) -> Client:
        """The shared client."""
        return self._shared_client.current()

    def read(self, path: str) -> KeyValue | None:
        """Read a node; None if it does not exist."""
        (answer,) = self.client.request_linearizable(f"read {path[1:]!r}", get_data(path))
        return KeyValue.parse(path, answer)

    def read_leader(self, folder: str) -> Leader | None:
        """Read the leader of the election with this node."""
        for _ in range(_TRIES):
            client, doing = self.client, f"read the leader of {folder[1:]!r}"
            (names,) = client.request_linearizable(doing, get_children(folder))
            name = None if isinstance(names, Exception) else self.recipe.first_claim(names)
            if name is None:
                return None
            (answer,) = client.request(doing, get_data(f"{folder}/{name}"))
            if not isinstance(answer, Exception):
                return parse_leader(answer)
        raise StoreUnavailable(f"the leader of {folder[1:]!r} changes faster than it can be read")

    def find_leading_claim(self, folder: str, token: int) -> str | None:
        """Find the node of the claim that leads with this token; None if it does not lead.

        A claim may be found at the head in an old state: no other precedes it as long as it
        exists, which the transaction that relies on it has to check. It is reported as not
        leading on the proof of a linearizable read only.

        Args:
            folder: the path of the election's node.
            token: of the claim.
        """
        client, doing = self.client, f"read the claims of {folder[1:]!r}"
        for request in (client.request, client.request_linearizable):
            (names,) = request(doing, get_children(folder))
            name = None if isinstance(names, Exception) else self.recipe.first_claim(names)
            if name is not None:
                path = f"{folder}/{name}"
                (answer,) = client.request(doing, get_data(path))
                if not isinstance(answer, Exception) and answer[1].czxid == token:
                    return path
        return None


def parse_leader(answer: tuple[bytes | None, Any]) -> Leader | None:
    """Parse the leader from the first claim's node; None if that was overwritten.

    Raises:
        StoreUnavailable: no node has such a stat.
    """
    data, stat = answer
    if not 0 < stat.czxid <= stat.mzxid:
        raise unexpected_response("read the leader", ValueError("invalid numbers of a node"))
    return None if stat.version != 0 else Leader.of(data or b"", stat.czxid)
