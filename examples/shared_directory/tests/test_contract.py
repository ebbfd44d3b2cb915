"""The contract of `leadership`, on a directory of its own: run ``pytest``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from leadership_core.testing import ElectionContract, Sandbox, StoreContract


class TestDirectory(StoreContract, ElectionContract, capabilities=(), outages=()):
    """The whole contract; each case has its own connections and keys."""

    @pytest.fixture
    def sandbox(self, tmp_path: Path) -> Iterator[Sandbox]:
        with Sandbox(f"directory://{tmp_path}", ttl=1.0) as sandbox:
            yield sandbox
