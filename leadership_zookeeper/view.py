"""What a watch looks at: one entry, all below a folder, or who leads an election."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Generic, Protocol, TypeVar

from leadership_core.errors import StoreUnavailable
from leadership_core.store import Entry, Leader

from .claim import first
from .errors import no_sense
from .link import Link
from .nodes import Node, children, exists, is_pin, leader_of, read

__all__ = ["EntryView", "LeaderView", "TreeView", "View", "Watch", "unwatched"]

_TRIES = 20
_LONGEST = 64 * 1024**2  # bytes of a list
_OVERHEAD = 32  # bytes that a name counts for beside its own length
_BATCH = 200  # nodes whose requests are under way at the same time

Watch = Callable[[str], Callable[[Any], None] | None]
"""Told of a node that matters, before it is read, and returns what a watch of it is to call."""

Found_co = TypeVar("Found_co", covariant=True)


def unwatched(_: str) -> None:
    """A `Watch` for those who look only once."""


class View(Protocol, Generic[Found_co]):
    """Looks, and sets the watches that tell when to look again.

    What it finds is at least as new as what its link has been shown before, and no newer than that
    by itself: where it has to be as new as the question, `Link.ask_confirmed` comes first.

    Attributes:
        paths: the nodes whose changes matter since the last look.
    """

    @property
    def paths(self) -> Collection[str]: ...

    def look(self, link: Link, stirred: Iterable[str] | None) -> Found_co:
        """Say what is there.

        Args:
            link: where.
            stirred: the nodes that have changed since the last look; None for all.

        Raises:
            StoreUnavailable: no answer.
        """


class EntryView:
    """One entry."""

    def __init__(self, path: str, watch: Watch) -> None:
        self.paths = (path,)
        self._watch = watch

    def look(self, link: Link, stirred: Iterable[str] | None) -> Entry | None:
        (path,) = self.paths
        for _ in range(_TRIES):
            (answer,) = link.ask(f"read {path[1:]!r}", read(path, self._watch(path)))
            node = Node.of(path, answer)
            if node is not None:
                return node.entry
            (stat,) = link.ask(f"watch {path[1:]!r}", exists(path, self._watch(path)))
            if stat is None:
                return None
        raise StoreUnavailable(f"{path[1:]!r} comes and goes faster than it can be read")


class LeaderView:
    """Who leads an election: only the first claim matters, as long as there is one."""

    def __init__(self, folder: str, watch: Watch) -> None:
        self.paths: tuple[str, ...] = (folder,)
        self._folder = folder
        self._watch = watch

    def look(self, link: Link, stirred: Iterable[str] | None) -> Leader | None:
        doing = f"watch who leads {self._folder[1:]!r}"
        for _ in range(_TRIES):
            (names,) = link.ask(doing, children(self._folder))
            name = None if isinstance(names, Exception) else first(names)
            if name is not None:
                leader = f"{self._folder}/{name}"
                self.paths = (leader,)
                (answer,) = link.ask(doing, read(leader, self._watch(leader)))
                if not isinstance(answer, Exception):
                    return leader_of(answer)
            elif self._is_vacant(link, doing):
                return None
        raise StoreUnavailable(f"cannot {doing}: that changes faster than it can be read")

    def _is_vacant(self, link: Link, doing: str) -> bool:
        self.paths = (self._folder,)
        (names,) = link.ask(doing, children(self._folder, self._watch(self._folder)))
        if not isinstance(names, Exception):
            return first(names) is None
        (stat,) = link.ask(doing, exists(self._folder, self._watch(self._folder)))
        return stat is None


class TreeView:
    """All entries below a folder; it reads again only what has changed.

    Args:
        root: the folder.
        watch: see `Watch`; it may return None.
        pins: whether to look at those, too.
    """

    def __init__(self, root: str, watch: Watch, *, pins: bool = False) -> None:
        self._root = root
        self._watch = watch
        self._pins = pins
        self._nodes: dict[str, Node] = {}
        self._below: dict[str, set[str]] = {}
        self._left = _LONGEST

    @property
    def paths(self) -> Collection[str]:
        return {self._root, *self._nodes}

    @property
    def nodes(self) -> Collection[Node]:
        """All that is there, folders and the root of it included."""
        return self._nodes.values()

    def look(self, link: Link, stirred: Iterable[str] | None) -> list[Entry]:
        if stirred is None:
            self._nodes.clear()
            self._below.clear()
        known = self.paths
        self._left = _LONGEST - sum(
            len(node.data or b"") + len(path) + _OVERHEAD for path, node in self._nodes.items()
        )
        wanted = [self._root] if stirred is None else [one for one in stirred if one in known]
        while wanted:
            wanted = wanted[_BATCH:] + self._read(link, wanted[:_BATCH])
        found = (node.entry for path, node in sorted(self._nodes.items()) if path != self._root)
        return [entry for entry in found if entry is not None]

    def _read(self, link: Link, paths: list[str]) -> list[str]:
        """Read these nodes, and return those that are to be read then."""
        pairs = [
            (read(path, self._watch(path)), children(path, self._watch(path))) for path in paths
        ]
        answers = link.ask(
            f"list {self._root[1:]!r}",
            *(one for pair in pairs for one in pair),
            check=self._count,
        )
        wanted = []
        for path, data, names in zip(paths, answers[::2], answers[1::2], strict=True):
            node = Node.of(path, data)
            if node is None or isinstance(names, Exception):
                self._drop(path)
                if path == self._root and self._is_back(link):
                    wanted.append(path)
                continue
            base = "" if path == "/" else path
            below = {f"{base}/{name}" for name in names if self._pins or not is_pin(name)}
            for gone in self._below.get(path, set()) - below:
                self._drop(gone)
            wanted += below - self._nodes.keys()
            self._nodes[path], self._below[path] = node, below
        return wanted

    def _count(self, answer: Any) -> None:
        """Note what an answer has brought; raises if that is more than a list may have."""
        if isinstance(answer, list):
            if not all(name and "/" not in name for name in answer):
                raise no_sense(f"list {self._root[1:]!r}", ValueError("a name that cannot be"))
            self._left -= sum(map(len, answer)) + _OVERHEAD * len(answer)
        elif isinstance(answer, tuple):
            self._left -= len(answer[0] or b"")
        if self._left < 0:
            raise StoreUnavailable(
                f"what is below {self._root[1:]!r} has more than {_LONGEST} bytes, which are the most "
                "that a list may have: list a part of it"
            )

    def _drop(self, path: str) -> None:
        self._nodes.pop(path, None)
        for below in self._below.pop(path, set()):
            self._drop(below)

    def _is_back(self, link: Link) -> bool:
        fired = self._watch(self._root)
        if fired is None:
            return False
        (stat,) = link.ask(f"watch {self._root[1:]!r}", exists(self._root, fired))
        return stat is not None
