"""A server of one election, for tests of the protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership_core import Candidate, open_store
from leadership_core.status import StatusServer, serve


@pytest.fixture
def server() -> Iterator[StatusServer]:
    """The status of a candidate that leads."""
    with (
        open_store("memory://") as store,
        Candidate(store, "key", "node-1", ttl=5) as candidate,
        serve([candidate]) as server,
    ):
        assert candidate.wait_elected(5)
        yield server
