"""Entries: nodes with data, written in one step with all that must hold for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from kazoo.exceptions import (
    BadVersionError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.serialization import CheckVersion, Create, Delete, SetData

from leadership_core.errors import (
    ConfigurationError,
    Conflict,
    Fenced,
    StoreError,
    StoreUnavailable,
)
from leadership_core.guards import check_expected
from leadership_core.store import ABSENT, ANY, Entry, Expected

from .errors import translated
from .link import Link
from .nodes import (
    Node,
    Nodes,
    check_size,
    children,
    is_pin,
    make_folders,
    parent_of,
    path_of,
    read,
)
from .pin import Pins
from .session import ZooKeeperSession
from .view import TreeView, unwatched

__all__ = ["Entries"]

_TRIES = 100
_STEP = 500_000  # bytes of a transaction, about
_LOST_RACES = (NoNodeError, NodeExistsError, BadVersionError, NotEmptyError)


class Entries:
    """All entries of a ZooKeeper; safe for several threads.

    A node is read first, compared as a whole, and written if its version is still the same. What is
    compared is pinned meanwhile, or a node that was deleted and made again could pass for it. What
    is read may be old, as the transaction that writes will tell; before a refusal it is confirmed.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._pins = Pins()

    def get(self, key: str) -> Entry | None:
        """Read one."""
        node = self._nodes.read(path_of(key))
        return None if node is None else node.entry

    def below(self, prefix: str) -> list[Entry]:
        """Read all below a key."""
        return self._tree(TreeView(path_of(prefix), unwatched), self._nodes.link)

    def _tree(self, view: TreeView, link: Link) -> list[Entry]:
        link.ask_confirmed("list")
        return view.look(link, None)

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
        with _Target(self._pins, link, key, expect) as target:
            for _ in range(_TRIES):
                node = target.read()
                version = -1 if expect is ANY or node is None else node.version
                written = _steps(target, value, link.acl, node, owner, version)
                in_the_way = target.pins() if isinstance(written[0], Delete) else []
                if in_the_way is None:
                    raise ConfigurationError(
                        f"cannot bind {key!r} to a session: there are entries below it, and "
                        "ZooKeeper keeps nothing below one that is bound"
                    )
                steps = [*guard, *target.unpin, *in_the_way, *written]
                answers = target.commit(f"write {key!r}", steps)
                problem = _problem(answers)
                if problem is None:
                    bound = None if session is None else session.id
                    return Entry(key, value, answers[-1].mzxid, bound)
                step, error = problem
                if step < len(guard):
                    assert fence is not None
                    problem_of = f"the term with token {fence[1]} of {fence[0]!r} is over"
                    raise Fenced(problem_of) from error
                if node is None and isinstance(error, NoNodeError):
                    make_folders(link, parent_of(path))
        raise StoreUnavailable(f"{key!r} changes faster than it can be written")

    def delete(self, key: str, *, expect: Expected) -> bool:
        """Delete one; see `leadership_core.store.Store.delete`."""
        link, path = self._nodes.link, path_of(key)
        with _Target(self._pins, link, key, expect, deletes=True) as target:
            for _ in range(_TRIES):
                node = target.read()
                if node is None or node.entry is None:
                    return False
                in_the_way = target.pins()
                # What has others below it stays as their folder.
                if in_the_way is None:
                    steps = [*target.unpin, SetData(path, None, node.version)]
                else:
                    steps = [*target.unpin, *in_the_way, Delete(path, node.version)]
                if _problem(target.commit(f"delete {key!r}", steps)) is None:
                    self._clean_up(link, parent_of(path))
                    return True
        raise StoreUnavailable(f"{key!r} changes faster than it can be deleted")

    def delete_tree(self, prefix: str) -> int:
        """Delete all below a key, and the folders."""
        link, root = self._nodes.link, path_of(prefix)
        deleted = 0
        for _ in range(_TRIES):
            view = TreeView(root, unwatched, pins=True)
            entries = self._tree(view, link)
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
            else:  # what has been written since is not what was to be deleted
                self._clean_up(link, root)
                return deleted
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
                if not _is_empty(Node.of(path, answer)) or not self._remove(link, path):
                    return
                path = parent_of(path)
        except StoreError:
            pass

    def _remove(self, link: Link, path: str) -> bool:
        """Delete a folder if it is empty, and is none of which an entry was made meanwhile."""
        doing = f"delete the folder {path!r}"
        pin = self._pins.on(link, path)
        try:
            node = pin.set(doing)
            if not pin.is_set or not _is_empty(node, pins=1):
                return False
            assert node is not None
            steps = [*pin.steps, Delete(path, node.version)]
            if _problem(_commit(link, doing, steps)) is not None:
                return False
            pin.is_set = False
            return True
        finally:
            pin.take_away()


class _Target:
    """The node that is to be written, as it is read again after each try.

    Args:
        pins: of the store.
        link: where all of it is done.
        key: of the entry.
        expect: what the entry is compared with.
        deletes: whether nothing is to be done where there is no entry.

    Attributes:
        path: of the node.
    """

    def __init__(
        self, pins: Pins, link: Link, key: str, expect: Expected, *, deletes: bool = False
    ) -> None:
        self._link, self._key, self.path = link, key, path_of(key)
        self._expect = expect
        self._deletes = deletes
        self._pin = pins.on(link, self.path)
        self._node: Node | None = None
        self._confirmed = False  # a majority has confirmed something since it was asked
        self._folder = False  # an absent entry is compared, and a folder is there
        pins.sweep(link)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pin.take_away()

    @property
    def unpin(self) -> list[Any]:
        """The steps that come first, and fail if the node was let go."""
        return self._pin.steps

    def proof(self, acl: Any) -> list[Any]:
        """The steps that fail where a node is bound to a session; none if the pin proves it."""
        if self.unpin:
            return []
        return [Create(self._pin.path, None, acl, 0), Delete(self._pin.path, -1)]

    def read(self) -> Node | None:
        """Read it, and compare it; raises `Conflict`."""
        doing = f"read {self._key!r}"
        while True:
            if self._compares and not self._pin.is_set and not self._pin.bound:
                node = self._pin.set(f"compare {self._key!r}")
                self._confirmed = True
            else:
                ask = self._link.ask
                (answer,) = ask(doing, read(self.path))
                node = Node.of(self.path, answer)
            if self._matches(node):
                break
            self._confirm(doing)
        self._node = node
        return node

    @property
    def _compares(self) -> bool:
        return isinstance(self._expect, Entry) or self._folder

    def _matches(self, node: Node | None) -> bool:
        """Whether it is as expected; raises `Conflict` if it is not for certain."""
        entry = None if node is None else node.entry
        if self._deletes and entry is None:
            return self._confirmed
        if self._expect is ABSENT and node is not None and entry is None and not self._folder:
            self._folder = True
            return False
        try:
            check_expected(self._key, entry, self._expect)
        except Conflict:
            if self._confirmed:
                raise
            return False
        return True

    def _confirm(self, doing: str) -> None:
        if not self._confirmed and not self._compares:
            self._link.ask_confirmed(doing)
            self._confirmed = True

    def pins(self) -> list[Any] | None:
        """The steps that take away the pins of others; None if other things are below it, too."""
        node = self._node
        if node is None or node.children == len(self.unpin):
            return []
        (names,) = self._link.ask(f"look below {self._key!r}", children(self.path))
        if isinstance(names, Exception):
            return []
        others = [name for name in names if name != self._pin.name]
        if not all(map(is_pin, others)):
            return None
        return [Delete(f"{self.path}/{name}", -1) for name in others]

    def commit(self, doing: str, steps: list[Any]) -> list[Any]:
        """Do all steps or none, and return their answers, see `_commit`."""
        answers = _commit(self._link, doing, steps)
        self._confirmed = True  # also by the answer that it was not done
        problem = _problem(answers)
        if problem is None or steps[problem[0]] in self.unpin:
            self._pin.is_set = False
        return answers


def _is_empty(node: Node | None, pins: int = 0) -> bool:
    return node is not None and node.data is None and node.children == pins


def _steps(
    target: _Target, value: bytes, acl: Any, node: Node | None, owner: int, version: int
) -> list[Any]:
    """The steps that leave the value there, bound to the owner; the last one has the stat.

    By now another node may be there, with another owner: to write to that one would bind the value
    to a session that is not its own, and it would go with it. So what is bound is always made anew,
    and what is not is written where a node can be made below, which an ephemeral one refuses.
    """
    path = target.path
    if node is not None and node.owner == owner == 0:
        return [*target.proof(acl), SetData(path, value, version)]
    # What a step creates, its answer does not describe; a second step's does.
    made = [Create(path, None, acl, 1 if owner else 0), SetData(path, value, 0)]
    return made if node is None else [Delete(path, version), *made]


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
    if problem is not None and not _is_lost_race(steps[problem[0]], problem[1]):
        with translated(doing):
            raise problem[1]
    return list(answers)


def _is_lost_race(step: Any, error: Exception) -> bool:
    """Whether to look again, since something has changed meanwhile."""
    bound = isinstance(error, NoChildrenForEphemeralsError) and is_pin(step.path)
    return bound or isinstance(error, _LOST_RACES)


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
