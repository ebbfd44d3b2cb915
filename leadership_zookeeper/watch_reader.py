"""Readers of a watch: of one entry, of a tree, or of an election's leader.

They read the watched nodes, and leave ZooKeeper watches that fire when they have to be read again.
See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#ch_zkWatches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Generic, Protocol, TypeVar

from leadership_core.backend import Entry, Leader, StoreUnavailable

from .client import Client
from .errors import unexpected_response
from .nodes import KeyValue, exists, get_children, get_data, is_pin, parse_leader

__all__ = [
    "EntryReader",
    "FirstClaim",
    "LeaderReader",
    "TreeReader",
    "WatchPath",
    "WatchReader",
    "no_watch",
]

_TRIES = 20
_MAX_TREE = 64 * 1024**2  # bytes of a list
_NAME_OVERHEAD = 32  # bytes that a name counts for in addition to its length
_BATCH = 200  # nodes that are requested at the same time

WatchPath = Callable[[str], Callable[[Any], None] | None]
"""Called with a path before its node is read; returns the function for ZooKeeper's watch of it."""

FirstClaim = Callable[[list[str], Client], str | None]
"""Returns the leading claim among the names of a folder's children, which were read with the client."""

T_co = TypeVar("T_co", covariant=True)


def no_watch(_: str) -> None:
    """A `WatchPath` for a single read."""


class WatchReader(Protocol, Generic[T_co]):
    """Reads what is watched.

    A result is at least as new as what the client has observed before. Where it has to be as new
    as the call, `Client.request_linearizable` comes first.

    Attributes:
        paths: the nodes on which the last result depends.
    """

    @property
    def paths(self) -> Collection[str]: ...

    def read(self, client: Client, changed: Iterable[str] | None) -> T_co:
        """Read it with a client.

        Args:
            client: for the requests.
            changed: the paths that have changed since the last read; None for all.

        Raises:
            StoreUnavailable: no answer.
        """


class EntryReader:
    """Reads one entry."""

    def __init__(self, path: str, watch: WatchPath) -> None:
        self.paths: tuple[str, ...] = (path,)
        self._watch = watch

    def read(self, client: Client, changed: Iterable[str] | None) -> Entry | None:
        (path,) = self.paths
        for _ in range(_TRIES):
            (answer,) = client.request(f"read {path[1:]!r}", get_data(path, self._watch(path)))
            node = KeyValue.parse(path, answer)
            if node is not None:
                return node.entry
            (stat,) = client.request(f"watch {path[1:]!r}", exists(path, self._watch(path)))
            if stat is None:
                return None
        raise StoreUnavailable(f"{path[1:]!r} is created and deleted faster than it can be read")


class LeaderReader:
    """Reads the leader of an election; as long as there is one, only the first claim is watched.

    Args:
        folder: the path of the election's node.
        first_claim: of the election.
        watch: called before each node is read.
    """

    def __init__(
        self,
        folder: str,
        first_claim: FirstClaim,
        watch: WatchPath,
    ) -> None:
        self._first_claim = first_claim
        self.paths: tuple[str, ...] = (folder,)
        self._folder = folder
        self._watch = watch

    def read(self, client: Client, changed: Iterable[str] | None) -> Leader | None:
        folder, doing = self._folder, f"watch the leader of {self._folder[1:]!r}"
        for _ in range(_TRIES):
            (names,) = client.request(doing, get_children(folder))
            name = None if isinstance(names, Exception) else self._first_claim(names, client)
            if name is not None:
                path = f"{folder}/{name}"
                self.paths = (path,)
                (answer,) = client.request(doing, get_data(path, self._watch(path)))
                if not isinstance(answer, Exception):
                    return parse_leader(answer)
                continue
            # Without a leader, the folder is watched, or its creation.
            self.paths = (folder,)
            (names,) = client.request(doing, get_children(folder, self._watch(folder)))
            if not isinstance(names, Exception):
                if self._first_claim(names, client) is None:
                    return None
                continue
            (stat,) = client.request(doing, exists(folder, self._watch(folder)))
            if stat is None:
                return None
        raise StoreUnavailable(f"cannot {doing}: that changes faster than it can be read")


class TreeReader:
    """Reads all entries below a folder; reads only the changed nodes again.

    Args:
        root: the path of the folder.
        watch: called before each node is read.
        pins: whether to read pins, too.
    """

    def __init__(self, root: str, watch: WatchPath, *, pins: bool = False) -> None:
        self._root = root
        self._watch = watch
        self._pins = pins
        self._nodes: dict[str, KeyValue] = {}
        self._children: dict[str, set[str]] = {}
        self._bytes_left = _MAX_TREE

    @property
    def paths(self) -> Collection[str]:
        return {self._root, *self._nodes}

    @property
    def nodes(self) -> Collection[KeyValue]:
        """All nodes of the last read, including folders and the root."""
        return self._nodes.values()

    def read(self, client: Client, changed: Iterable[str] | None) -> list[Entry]:
        if changed is None:
            self._nodes.clear()
            self._children.clear()
        known = self.paths
        self._bytes_left = _MAX_TREE - sum(
            len(node.data or b"") + len(path) + _NAME_OVERHEAD for path, node in self._nodes.items()
        )
        wanted = [self._root] if changed is None else [one for one in changed if one in known]
        while wanted:
            wanted = wanted[_BATCH:] + self._read_nodes(client, wanted[:_BATCH])
        found = (node.entry for path, node in sorted(self._nodes.items()) if path != self._root)
        return [entry for entry in found if entry is not None]

    def _read_nodes(self, client: Client, paths: list[str]) -> list[str]:
        """Read these nodes, and return the paths to be read next."""
        pairs = [
            (get_data(path, self._watch(path)), get_children(path, self._watch(path)))
            for path in paths
        ]
        answers = client.request(
            f"list {self._root[1:]!r}",
            *(one for pair in pairs for one in pair),
            check=self._check_answer,
        )
        wanted = []
        for path, data, names in zip(paths, answers[::2], answers[1::2], strict=True):
            node = KeyValue.parse(path, data)
            if node is None or isinstance(names, Exception):
                self._forget(path)
                if path == self._root and (on_event := self._watch(path)) is not None:
                    # Watch its creation; it may have been created since.
                    (stat,) = client.request(f"watch {path[1:]!r}", exists(path, on_event))
                    if stat is not None:
                        wanted.append(path)
                continue
            base = "" if path == "/" else path
            below = {f"{base}/{name}" for name in names if self._pins or not is_pin(name)}
            for gone in self._children.get(path, set()) - below:
                self._forget(gone)
            wanted += below - self._nodes.keys()
            self._nodes[path], self._children[path] = node, below
        return wanted

    def _check_answer(self, answer: Any) -> None:
        """Check the names in an answer, and the total length of all answers."""
        if isinstance(answer, list):
            if not all(name and "/" not in name for name in answer):
                raise unexpected_response(
                    f"list {self._root[1:]!r}", ValueError("invalid name of a node")
                )
            self._bytes_left -= sum(map(len, answer)) + _NAME_OVERHEAD * len(answer)
        elif isinstance(answer, tuple):
            self._bytes_left -= len(answer[0] or b"")
        if self._bytes_left < 0:
            raise StoreUnavailable(
                f"the entries below {self._root[1:]!r} have more than {_MAX_TREE} bytes, the limit "
                "of a list: list a part of it"
            )

    def _forget(self, path: str) -> None:
        self._nodes.pop(path, None)
        for child in self._children.pop(path, set()):
            self._forget(child)
