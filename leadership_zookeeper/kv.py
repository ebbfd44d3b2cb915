"""Entries as nodes, each written in one transaction with everything that must hold for it.

See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#ch_zkGuarantees.
"""

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

from leadership_core.backend import (
    ABSENT,
    ANY,
    ConfigurationError,
    Conflict,
    Entry,
    Expected,
    Fence,
    Fenced,
    StoreError,
    StoreUnavailable,
    check_expected,
)

from .client import Client
from .errors import map_errors
from .node_pin import NodePins
from .nodes import (
    KeyValue,
    NodeReader,
    check_size,
    create_folders,
    get_children,
    get_data,
    is_pin,
    parent_of,
    path_of,
)
from .session import ZooKeeperSession
from .watch_reader import TreeReader, no_watch

__all__ = ["Entries"]

_TRIES = 100
_MAX_TRANSACTION = 500_000  # bytes, about
_CONFLICTS = (NoNodeError, NodeExistsError, BadVersionError, NotEmptyError)


class Entries:
    """All entries of a store; thread-safe.

    A node is read, compared as a whole, and written if its version is unchanged. A node that is
    compared is pinned meanwhile, or one that was deleted and created again could pass for it. The
    first read may be old, which the transaction detects; before a refusal it is confirmed.
    """

    def __init__(self, nodes: NodeReader) -> None:
        self._nodes = nodes
        self._pins = NodePins()

    def get(self, key: str) -> Entry | None:
        """Read one entry."""
        node = self._nodes.read(path_of(key))
        return None if node is None else node.entry

    def list_below(self, prefix: str) -> list[Entry]:
        """Read all entries below a key."""
        return self._read_tree(TreeReader(path_of(prefix), no_watch), self._nodes.client)

    def _read_tree(self, reader: TreeReader, client: Client) -> list[Entry]:
        client.request_linearizable("list")
        return reader.read(client, None)

    def put(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expected,
        session: ZooKeeperSession | None,
        fence: Fence | None,
    ) -> Entry:
        """Write an entry; see `leadership_core.backend.protocols.StoreBackend.put`."""
        check_size(key, value)
        client = self._nodes.client if session is None else session.usable_client
        path, owner = path_of(key), 0 if session is None else session.number
        fence_check: list[Any] = []
        term_is_over = ""
        if fence is not None:
            term_is_over = f"the term with token {fence.token} of {fence.key!r} is over"
            claim = self._nodes.find_leading_claim(path_of(fence.key), fence.token)
            if claim is None:
                raise Fenced(term_is_over)
            fence_check = [CheckVersion(claim, 0)]  # it exists, and was not overwritten
        with Target(self._pins, client, key, expect) as target:
            for _ in range(_TRIES):
                node = target.read()
                version = -1 if expect is ANY or node is None else node.version
                written = _write_operations(target, value, client.acl, node, owner, version)
                foreign_pins = target.foreign_pins() if isinstance(written[0], Delete) else []
                if foreign_pins is None:
                    raise ConfigurationError(
                        f"cannot bind {key!r} to a session: there are entries below it, and "
                        "ZooKeeper allows no children below an ephemeral node: choose another key"
                    )
                operations = [*fence_check, *target.unpin, *foreign_pins, *written]
                answers = target.commit(f"write {key!r}", operations)
                failure = _failure(answers)
                if failure is None:
                    bound = None if session is None else session.id
                    return Entry(key, value, answers[-1].mzxid, bound)
                position, error = failure
                if position < len(fence_check):
                    raise Fenced(term_is_over) from error
                if node is None and isinstance(error, NoNodeError):
                    create_folders(client, parent_of(path))
        raise StoreUnavailable(f"{key!r} changes faster than it can be written")

    def delete(self, key: str, *, expect: Expected) -> bool:
        """Delete an entry; see `leadership_core.backend.protocols.StoreBackend.delete`."""
        client, path = self._nodes.client, path_of(key)
        with Target(self._pins, client, key, expect, deletes=True) as target:
            for _ in range(_TRIES):
                node = target.read()
                if node is None or node.entry is None:
                    return False
                foreign_pins = target.foreign_pins()
                # With entries below it, the node stays as their folder.
                if foreign_pins is None:
                    operations = [*target.unpin, SetData(path, None, node.version)]
                else:
                    operations = [*target.unpin, *foreign_pins, Delete(path, node.version)]
                if _failure(target.commit(f"delete {key!r}", operations)) is None:
                    self._clean_up(client, parent_of(path))
                    return True
        raise StoreUnavailable(f"{key!r} changes faster than it can be deleted")

    def delete_tree(self, prefix: str) -> int:
        """Delete all entries below a key, and their folders; returns the number of entries."""
        client, root = self._nodes.client, path_of(prefix)
        deleted = 0
        for _ in range(_TRIES):
            reader = TreeReader(root, no_watch, pins=True)
            entries = self._read_tree(reader, client)
            below = [node for node in reader.nodes if node.path != root]
            if not below:
                self._clean_up(client, root)
                return deleted
            # Children before their parents.
            below.sort(key=lambda node: node.path.count("/"), reverse=True)
            operations = [Delete(node.path, node.version) for node in below]
            paths = {path_of(entry.key) for entry in entries}
            doing = f"delete the entries below {prefix!r}"
            for batch in _batches(operations):
                if _failure(_commit(client, doing, batch)) is not None:
                    break  # another client has changed one of them
                deleted += sum(one.path in paths for one in batch)
            else:  # entries that were written since the read stay
                self._clean_up(client, root)
                return deleted
        raise StoreUnavailable(f"the tree below {prefix!r} changes faster than it can be deleted")

    def _clean_up(self, client: Client, path: str) -> None:
        """Delete the folder and its parents up to the first that is not empty; errors are ignored."""
        chroot = path_of(self._nodes.chroot)
        try:
            while path not in {"/", chroot}:
                (answer,) = client.request(f"read {path!r}", get_data(path))
                node = KeyValue.parse(path, answer)
                if not _is_empty(node) or not self._delete_folder(client, path):
                    return
                path = parent_of(path)
        except StoreError:
            pass

    def _delete_folder(self, client: Client, path: str) -> bool:
        """Delete a folder if it is still empty, and no entry was made of it meanwhile."""
        doing = f"delete the folder {path!r}"
        pin = self._pins.new(client, path)
        try:
            node = pin.set(doing)
            if not pin.is_set or not _is_empty(node, pins=1):
                return False
            assert node is not None
            operations = [*pin.operations, Delete(path, node.version)]
            if _failure(_commit(client, doing, operations)) is not None:
                return False
            pin.is_set = False
            return True
        finally:
            pin.remove()


class Target:
    """The node that is to be written; a context manager, which removes its pin.

    Args:
        pins: of the store.
        client: for all requests.
        key: of the entry.
        expect: the expected entry.
        deletes: whether nothing is to be done if there is no entry.

    Attributes:
        path: of the node.
    """

    def __init__(
        self, pins: NodePins, client: Client, key: str, expect: Expected, *, deletes: bool = False
    ) -> None:
        self._client, self._key = client, key
        self.path: str = path_of(key)
        self._expect = expect
        self._deletes = deletes
        self._pin = pins.new(client, self.path)
        self._node: KeyValue | None = None
        self._confirmed = False  # a majority has confirmed a read or write of this call
        self._is_folder = False  # no entry is expected, and there is a folder
        pins.remove_orphaned(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pin.remove()

    @property
    def unpin(self) -> list[Any]:
        """The first operations of the transaction, which fail if the node was not kept."""
        return self._pin.operations

    def read(self) -> KeyValue | None:
        """Read the node, and compare it with the expected entry.

        Raises:
            Conflict: it differs.
        """
        doing = f"read {self._key!r}"
        while True:
            if self._compares and not self._pin.is_set and not self._pin.parent_is_ephemeral:
                node = self._pin.set(f"compare {self._key!r}")
                self._confirmed = True
            else:
                (answer,) = self._client.request(doing, get_data(self.path))
                node = KeyValue.parse(self.path, answer)
            if self._matches(node):
                break
            if not self._confirmed and not self._compares:
                self._client.request_linearizable(doing)
                self._confirmed = True
        self._node = node
        return node

    @property
    def _compares(self) -> bool:
        return isinstance(self._expect, Entry) or self._is_folder

    def _matches(self, node: KeyValue | None) -> bool:
        """Whether the node is as expected; raises `Conflict` if it certainly is not."""
        entry = None if node is None else node.entry
        if self._deletes and entry is None:
            return self._confirmed
        if self._expect is ABSENT and node is not None and entry is None and not self._is_folder:
            self._is_folder = True
            return False
        try:
            check_expected(self._key, entry, self._expect)
        except Conflict:
            if self._confirmed:
                raise
            return False
        return True

    def foreign_pins(self) -> list[Any] | None:
        """Operations that delete the pins of other clients; None if it has other children."""
        node = self._node
        if node is None or node.child_count == len(self.unpin):
            return []
        (names,) = self._client.request(f"list {self._key!r}", get_children(self.path))
        if isinstance(names, Exception):
            return []
        others = [name for name in names if name != self._pin.name]
        if not all(map(is_pin, others)):
            return None
        return [Delete(f"{self.path}/{name}", -1) for name in others]

    def persistence_check(self, acl: Any) -> list[Any]:
        """Operations that fail if the node is bound to a session; none if the pin proves it."""
        if self.unpin:
            return []
        return [Create(self._pin.path, None, acl, 0), Delete(self._pin.path, -1)]

    def commit(self, doing: str, operations: list[Any]) -> list[Any]:
        """Run a transaction; see `_commit`."""
        answers = _commit(self._client, doing, operations)
        self._confirmed = True  # by a majority, also if it was rolled back
        failure = _failure(answers)
        if failure is None or operations[failure[0]] in self.unpin:
            self._pin.is_set = False
        return answers


def _is_empty(node: KeyValue | None, pins: int = 0) -> bool:
    return node is not None and node.data is None and node.child_count == pins


def _write_operations(
    target: Target, value: bytes, acl: Any, node: KeyValue | None, owner: int, version: int
) -> list[Any]:
    """Operations that write the value, bound to the owner; the last answer has the stat.

    The node may have been replaced since by one with another owner: writing to that would bind the
    value to a foreign session, which would delete it at its end. So a bound value is always
    written to a new node, and an unbound one only where a child can be created, which ZooKeeper
    refuses below an ephemeral node.
    """
    path = target.path
    if node is not None and node.ephemeral_owner == owner == 0:
        return [*target.persistence_check(acl), SetData(path, value, version)]
    # The answer to a creation has no stat in a transaction; that to a write has.
    created = [Create(path, None, acl, 1 if owner else 0), SetData(path, value, 0)]
    return created if node is None else [Delete(path, version), *created]


def _commit(client: Client, doing: str, operations: list[Any]) -> list[Any]:
    """Run a transaction, and return its answers; that of an operation that failed is the error.

    Raises:
        StoreError: it failed for another reason than a concurrent change.
    """

    def request(kazoo: Any) -> Any:
        transaction = kazoo.transaction()
        # Not by its methods, which reject a node without data.
        transaction.operations += operations
        return transaction.commit_async()

    (answers,) = client.request(doing, request)
    if isinstance(answers, Exception):
        raise StoreUnavailable(f"cannot {doing}: {answers!r}") from answers
    failure = _failure(answers)
    if failure is not None:
        position, error = failure
        # A pin was refused because the node was bound to a session meanwhile.
        refused_pin = isinstance(error, NoChildrenForEphemeralsError) and is_pin(
            operations[position].path
        )
        if not refused_pin and not isinstance(error, _CONFLICTS):
            with map_errors(doing):
                raise error
    return list(answers)


def _failure(answers: list[Any]) -> tuple[int, Exception] | None:
    """The position and the error of the operation that failed."""
    for number, answer in enumerate(answers):
        if isinstance(answer, Exception) and not isinstance(
            answer, RolledBackError | RuntimeInconsistency
        ):
            return number, answer
    return None


def _batches(operations: list[Any]) -> Iterator[list[Any]]:
    """The operations in batches that fit into a transaction."""
    batch: list[Any] = []
    size = 0
    for one in operations:
        size += len(one.path.encode()) + 32
        if batch and size > _MAX_TRANSACTION:
            yield batch
            batch, size = [], 0
        batch.append(one)
    if batch:
        yield batch
