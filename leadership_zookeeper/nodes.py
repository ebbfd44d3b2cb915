"""The nodes of ZooKeeper in our terms, and the requests that are made of them.

A node without data, which is not the same as one with no bytes in it, is a folder: it is there
for what is below it, and is no entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from kazoo.exceptions import NoNodeError

from leadership_core.errors import StoreRefused, StoreUnavailable
from leadership_core.store import Entry, Leader

from .claim import first
from .errors import no_sense
from .link import Link, Request
from .reader import Reader
from .session import session_id

__all__ = [
    "MAX_VALUE",
    "PIN",
    "Node",
    "Nodes",
    "check_size",
    "check_stat",
    "children",
    "create",
    "delete",
    "exists",
    "is_pin",
    "leader_of",
    "make_folders",
    "parent_of",
    "path_of",
    "read",
]

MAX_VALUE = 1_040_000
"""Bytes; a server breaks the connection when a request has more than 1 MiB (jute.maxbuffer)."""

PIN = "__pin__"
"""How the names of nodes end that are there for a moment, to keep another one; see `pin`."""

_TRIES = 20


def check_size(key: str, value: bytes) -> None:
    """Raise `StoreRefused` for a value that no server takes."""
    if len(value) > MAX_VALUE:
        raise StoreRefused(
            f"cannot write {key!r}: ZooKeeper takes {MAX_VALUE} bytes at most, "
            f"and these are {len(value)}"
        )


def path_of(key: str) -> str:
    """Where a key is; an empty one is the root."""
    return f"/{key}"


def is_pin(name: str) -> bool:
    """Whether a node of this name is no folder of anybody's, but a pin."""
    return name.endswith(PIN)


def parent_of(path: str) -> str:
    """The node above."""
    return path.rpartition("/")[0] or "/"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it was at one moment.

    Attributes:
        path: absolute.
        data: None for a folder.
        version: how often its data was written since it was made.
        modified: id of the transaction that wrote its data last.
        owner: number of the session that it is bound to, or 0.
        children: how many it has.
    """

    path: str
    data: bytes | None
    version: int
    modified: int
    owner: int
    children: int

    @classmethod
    def of(cls, path: str, answer: Any) -> Self | None:
        """Make one of an answer to `read`; None if it is not there."""
        if isinstance(answer, Exception):
            return None
        data, stat = answer
        check_stat(path, stat)
        return cls(path, data, stat.version, stat.mzxid, stat.ephemeralOwner, stat.numChildren)

    @property
    def entry(self) -> Entry | None:
        """The entry that it is."""
        if self.data is None or self.path == "/":
            return None
        session = session_id(self.owner) if self.owner else None
        return Entry(self.path[1:], self.data, self.modified, session)


def check_stat(path: str, stat: Any) -> None:
    """Raise `StoreUnavailable` if no node can be like that."""
    # The root was made by no transaction.
    if not (
        0 <= stat.czxid <= stat.mzxid and min(stat.version, stat.numChildren, stat.dataLength) >= 0
    ):
        raise no_sense(f"read {path[1:]!r}", ValueError("a node has numbers that cannot be"))


# -- requests -----------------------------------------------------------------------------------


def read(path: str, watch: Any = None) -> Request:
    """Data and stat of a node; the watch fires when it changes or goes."""
    return lambda client: client.get_async(path, watch=watch)


def exists(path: str, watch: Any = None) -> Request:
    """The stat of a node, or None; the watch fires when it comes, changes or goes."""
    return lambda client: client.exists_async(path, watch=watch)


def children(path: str, watch: Any = None) -> Request:
    """The names below a node; the watch fires when one comes or goes."""
    return lambda client: client.get_children_async(path, watch=watch)


def create(path: str, data: bytes | None, *, ephemeral: bool = False) -> Request:
    """Make a node that lasts, or one that goes with the session."""
    return lambda client: client.create_async(path, data, ephemeral=ephemeral)


def delete(path: str, version: int = -1) -> Request:
    """Delete a node, of this version or of any."""
    return lambda client: client.delete_async(path, version)


def make_folders(link: Link, path: str) -> None:
    """Make the folder, and those above it that are missing.

    From below, since we may have no permission to look at what is above us.
    """
    missing = []
    while path != "/":
        (answer,) = link.ask(f"make the folder {path!r}", create(path, None))
        if not isinstance(answer, NoNodeError):
            break
        missing.append(path)
        path = parent_of(path)
    if missing:
        wanted = [create(one, None) for one in reversed(missing)]
        link.ask(f"make the folder {missing[0]!r}", *wanted)


class Nodes:
    """What the store's own client reads; every read is linearizable.

    Attributes:
        chroot: what the URL puts before every key.
    """

    def __init__(self, reader: Reader, chroot: str) -> None:
        self.chroot = chroot
        self._reader = reader

    @property
    def link(self) -> Link:
        """The client's link of now."""
        return self._reader.link()

    def read(self, path: str) -> Node | None:
        """Read one node."""
        (answer,) = self.link.ask_confirmed(f"read {path[1:]!r}", read(path))
        return Node.of(path, answer)

    def leader(self, folder: str) -> Leader | None:
        """Read who leads the election there."""
        for _ in range(_TRIES):
            link, doing = self.link, f"read who leads {folder[1:]!r}"
            (names,) = link.ask_confirmed(doing, children(folder))
            name = None if isinstance(names, Exception) else first(names)
            if name is None:
                return None
            (answer,) = link.ask(doing, read(f"{folder}/{name}"))
            if not isinstance(answer, Exception):
                return leader_of(answer)
        raise StoreUnavailable(f"the leader of {folder[1:]!r} changes faster than it can be read")

    def claim(self, folder: str, token: int) -> str | None:
        """Find the node of the claim that leads with this token; None if it does not.

        A claim that was found at the head may be found in an old state: nothing comes before it
        as long as it is there, which whoever relies on it has the store check. That it is not
        found is said only of what a majority has confirmed.
        """
        link, doing = self.link, f"look into {folder[1:]!r}"
        for ask in (link.ask, link.ask_confirmed):
            (names,) = ask(doing, children(folder))
            name = None if isinstance(names, Exception) else first(names)
            if name is not None:
                path = f"{folder}/{name}"
                (answer,) = link.ask(doing, read(path))
                if not isinstance(answer, Exception) and answer[1].czxid == token:
                    return path
        return None


def leader_of(answer: tuple[bytes | None, Any]) -> Leader | None:
    """Who a claim's node says that leads; nobody, if it was written over."""
    data, stat = answer
    if not 0 < stat.czxid <= stat.mzxid:
        raise no_sense("read who leads", ValueError("a node has numbers that cannot be"))
    return None if stat.version != 0 else Leader.of(data or b"", stat.czxid)
