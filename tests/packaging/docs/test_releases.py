"""The tested releases in the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.servers.releases import KINDS, versions_of

README = (Path(__file__).parents[3] / "README.md").read_text()
_SCHEMES = {"consul": "consul", "etcd": "etcd", "zookeeper": "zk", "postgres": "postgresql"}


@pytest.mark.parametrize("kind", KINDS)
def test_readme_names_the_rows_of_the_table(kind: str) -> None:
    """Each row names the tested releases."""
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{_SCHEMES[kind]}://")]

    assert re.search(rf"; tested with {re.escape(versions_of(kind))}( \||; )", row)
