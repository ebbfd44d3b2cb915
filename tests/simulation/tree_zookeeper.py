"""What there is in ZooKeeper after one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

__all__ = ["Node", "Tree", "changed", "children_of"]

Tree = dict[str, "Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as of one transaction."""

    data: bytes | None
    created: int
    modified: int
    version: int = 0
    owner: int = 0
    sequence: int = 0

    def stat(self, children: int) -> SimpleNamespace:
        return SimpleNamespace(
            czxid=self.created,
            mzxid=self.modified,
            version=self.version,
            ephemeralOwner=self.owner,
            numChildren=children,
            dataLength=len(self.data or b""),
        )


def changed(kind: str, path: str, before: Tree, after: Tree) -> str | None:
    """What a watch tells of the difference, or None."""
    if kind == "children":
        if path in before and path not in after:
            return "DELETED"
        return "CHILD" if children_of(before, path) != children_of(after, path) else None
    old, new = before.get(path), after.get(path)
    if old is not None and (new is None or new.created != old.created):
        return "DELETED"
    if old is None and new is not None:
        return "CREATED"
    return "CHANGED" if old != new and old is not None else None


def children_of(tree: Tree, path: str) -> list[str]:
    """The names below a node."""
    below = path.rstrip("/") + "/"
    return sorted(
        one[len(below) :] for one in tree if one.startswith(below) and "/" not in one[len(below) :]
    )
