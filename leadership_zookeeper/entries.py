"""Entries: nodes with data, written in one step with all that must hold for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kazoo.exceptions import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.serialization import CheckVersion, Create, Delete, SetData

from leadership_core.errors import (
    ConfigurationError,
    Fenced,
    StoreError,
    StoreUnavailable,
)
from leadership_core.guards import check_expected
from leadership_core.store import ABSENT, ANY, Entry, Expected

from .errors import translated
from .link import Link
from .nodes import Node, Nodes, check_size, delete, make_folders, parent_of, path_of, read, sync
from .session import ZooKeeperSession
from .view import TreeView, unwatched

__all__ = ["Entries"]

_TRIES = 100
_STEP = 500_000  # bytes of a transaction, about
_LOST_RACES = (NoNodeError, NodeExistsError, BadVersionError, NotEmptyError)


class Entries:
    """All entries of a ZooKeeper; safe for several threads.

    ZooKeeper compares the version of a node, which counts its writes since it was made. So a
    node is read first, compared as a whole, and written if its version is still the same. Were it
    deleted and made again with the same number of writes, within that one round trip, the write
    would take that one for the other.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def get(self, key: str) -> Entry | None:
        """Read one."""
        node = self._nodes.read(path_of(key))
        return None if node is None else node.entry

    def below(self, prefix: str) -> list[Entry]:
        """Read all below a key."""
        return TreeView(path_of(prefix), unwatched).look(self._nodes.link, None)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected,
        session: ZooKeeperSession | None,
        fence: tuple[str, int] | None,
    ) -> Entry:
        """Write one; see `leadership_core.store.Store.put`."""
        check_size(key, value)
        link = self._nodes.link if session is None else session.usable_link
        path, owner = path_of(key), 0 if session is None else session.number
        guard = self._guard(fence)
        for _ in range(_TRIES):
            node = _read(link, path)
            check_expected(key, None if node is None else node.entry, expect)
            steps = [*guard, *_steps(path, value, link, node, owner)]
            answers = _commit(link, f"write {key!r}", steps)
            problem = _problem(answers)
            if problem is None:
                bound = None if session is None else session.id
                return Entry(key, value, answers[-1].mzxid, bound)
            step, error = problem
            if step < len(guard):
                assert fence is not None
                raise Fenced(f"the term with token {fence[1]} of {fence[0]!r} is over") from error
            if node is None and isinstance(error, NoNodeError):
                make_folders(link, parent_of(path))
            elif isinstance(error, NotEmptyError):
                raise ConfigurationError(
                    f"cannot bind {key!r} to a session: there are entries below it, and ZooKeeper "
                    "keeps nothing below one that is bound"
                ) from error
        raise StoreUnavailable(f"{key!r} changes faster than it can be written")

    def delete(self, key: str, *, expect: Expected) -> bool:
        """Delete one; see `leadership_core.store.Store.delete`."""
        link, path = self._nodes.link, path_of(key)
        for _ in range(_TRIES):
            node = _read(link, path)
            entry = None if node is None else node.entry
            if node is None or entry is None:
                return False
            if expect is not ANY:
                check_expected(key, entry, ABSENT if expect is ABSENT else expect)
            # What has others below it stays as their folder.
            step = (
                SetData(path, None, node.version) if node.children else Delete(path, node.version)
            )
            if _problem(_commit(link, f"delete {key!r}", [step])) is None:
                self._clean_up(link, parent_of(path))
                return True
        raise StoreUnavailable(f"{key!r} changes faster than it can be deleted")

    def delete_tree(self, prefix: str) -> int:
        """Delete all below a key, and the folders."""
        link, root = self._nodes.link, path_of(prefix)
        deleted = 0
        for _ in range(_TRIES):
            view = TreeView(root, unwatched)
            entries = view.look(link, None)
            below = [node for node in view.nodes if node.path != root]
            if not below:
                self._clean_up(link, root)
                return deleted
            # What is below goes first.
            below.sort(key=lambda node: node.path.count("/"), reverse=True)
            steps = [Delete(node.path, node.version) for node in below]
            names = {path_of(entry.key) for entry in entries}
            for some in _portions(steps):
                if _problem(_commit(link, f"delete what is below {prefix!r}", some)) is not None:
                    break  # somebody was faster
                deleted += sum(step.path in names for step in some)
        raise StoreUnavailable(f"what is below {prefix!r} changes faster than it can be deleted")

    def _guard(self, fence: tuple[str, int] | None) -> list[Any]:
        if fence is None:
            return []
        key, token = fence
        path = self._nodes.claim(path_of(key), token)
        if path is None:
            raise Fenced(f"the term with token {token} of {key!r} is over")
        # A version of 0: nobody has written over it.
        return [CheckVersion(path, 0)]

    def _clean_up(self, link: Link, path: str) -> None:
        """Delete the folder, and those above it, as far as they are empty: as well as can be."""
        chroot = path_of(self._nodes.chroot)
        try:
            while path not in {"/", chroot}:
                (answer,) = link.ask(f"look at {path!r}", read(path))
                node = Node.of(path, answer)
                if node is None or node.data is not None or node.children:
                    return
                (answer,) = link.ask(f"delete the folder {path!r}", delete(path, node.version))
                if isinstance(answer, Exception):
                    return
                path = parent_of(path)
        except StoreError:
            pass


def _read(link: Link, path: str) -> Node | None:
    _, answer = link.ask(f"read {path[1:]!r}", sync, read(path))
    return Node.of(path, answer)


def _steps(path: str, value: bytes, link: Link, node: Node | None, owner: int) -> list[Any]:
    """The steps that leave the value there, bound to the owner; the last one has the stat."""
    if node is not None and node.owner == owner:
        return [SetData(path, value, node.version)]
    # What a step creates, its answer does not describe; a second step's does.
    made = [Create(path, None, link.acl, 1 if owner else 0), SetData(path, value, 0)]
    return made if node is None else [Delete(path, node.version), *made]


def _commit(link: Link, doing: str, steps: list[Any]) -> list[Any]:
    """Do all steps or none, and return their answers; that of one that failed is the error."""

    def request(client: Any) -> Any:
        transaction = client.transaction()
        # Not by its methods, which know no node without data.
        transaction.operations += steps
        return transaction.commit_async()

    (answers,) = link.ask(doing, request)
    if isinstance(answers, Exception):
        raise StoreUnavailable(f"cannot {doing}: {answers!r}") from answers
    problem = _problem(answers)
    if problem is not None and not isinstance(problem[1], _LOST_RACES):
        with translated(doing):
            raise problem[1]
    return list(answers)


def _problem(answers: list[Any]) -> tuple[int, Exception] | None:
    """The step that failed, and why."""
    for number, answer in enumerate(answers):
        if isinstance(answer, Exception) and not isinstance(
            answer, RolledBackError | RuntimeInconsistency
        ):
            return number, answer
    return None


def _portions(steps: list[Any]) -> Iterator[list[Any]]:
    """The steps in groups that fit a transaction."""
    some: list[Any] = []
    size = 0
    for step in steps:
        size += len(step.path.encode()) + 32
        if some and size > _STEP:
            yield some
            some, size = [], 0
        some.append(step)
    if some:
        yield some
