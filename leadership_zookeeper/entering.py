"""The requests that create a claim's node, and show whether it is the first."""

from __future__ import annotations

from typing import Any

from kazoo.exceptions import NoNodeError

from leadership_core.backend import StoreUnavailable

from .claim import ZooKeeperClaim
from .client import Client
from .foreign import ForeignNodes
from .nodes import create, create_folders, get_children, get_data, parent_of

__all__ = ["Entering"]


class Entering:
    """One attempt to enter: its requests are sent without a wait in between, and served in this order.

    In a new folder the name of the claim's node is known beforehand, since the numbers start at 0. So
    the node can be read and watched by the same batch, and the folder, too. Where the folder
    exists, its creation changes nothing, and there is no node of that name.

    Args:
        client: of the claim's session.
        claim: whose node to create.
        folder: the path of the election's node.
        foreign: what else is in the folder.
        new_folder: whether to create the folder, too.

    Attributes:
        created: the answer to the creation of the node.
    """

    def __init__(
        self,
        client: Client,
        claim: ZooKeeperClaim,
        folder: str,
        foreign: ForeignNodes,
        *,
        new_folder: bool,
    ) -> None:
        self._client, self._claim, self._foreign = client, claim, foreign
        self._folder = folder
        self.created: Any
        self._own: Any = None
        self._folder_created: Any = None
        if not new_folder:
            self.created, self._listed = client.send(claim.creation(folder), get_children(folder))
            return
        client.wait_connected()
        self._moment = claim.moment()
        own = claim.path_if_first(folder)
        on_own, on_children = claim.watch_beforehand(own), foreign.watch_of(claim)
        self._folder_created, self.created, self._listed, self._own = client.send(
            create(folder, None),
            claim.creation(folder),
            get_children(folder, on_children),
            get_data(own, on_own),
        )

    def create_parents(self) -> None:
        """Create what is missing above the folder, where the folder was to be created and was not.

        Raises:
            ConfigurationError: nothing can be below the parent.
            StoreUnavailable: no answer.
        """
        if self._folder_created is None:
            return
        answer = self._client.result(self._folder_created, f"enter {self._claim.key!r}")
        if isinstance(answer, NoNodeError):
            create_folders(self._client, parent_of(self._folder))

    def read_queue(self) -> None:
        """Read the list of the children: it grants the claim if its node is the first.

        Raises:
            SessionLost: the session has ended.
        """
        claim = self._claim
        try:
            names = self._client.result(self._listed, f"list {claim.key!r}")
        except StoreUnavailable:
            claim.watches_folder = False
            return  # it has entered, and `status` reads the queue
        if isinstance(names, Exception):
            claim.watches_folder = False
            return
        claim.predecessors = claim.predecessors_among(names)
        self._foreign.note(names, self._client)
        claim.granted = claim.was_leading = claim.predecessors == []
        if claim.granted and self._own is not None:
            self._confirm()

    def _confirm(self) -> None:
        """Note that the node was read, if it was: then `watch_claim` has nothing to read."""
        try:
            answer = self._client.result(self._own, f"read {self._claim.key!r}")
        except StoreUnavailable:
            return
        if (
            not isinstance(answer, Exception)
            and self._claim.is_stat_of(answer[1])
            and answer[1].version == 0
        ):
            self._claim.confirm(self._moment)
