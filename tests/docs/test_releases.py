"""README says which releases of the servers the tests run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.releases import KINDS, versions_of

README = (Path(__file__).parents[2] / "README.md").read_text()
_SCHEMES = {"consul": "consul", "etcd": "etcd", "zookeeper": "zk"}


@pytest.mark.parametrize("kind", KINDS)
def test_readme_names_the_rows_of_the_table(kind: str) -> None:
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{_SCHEMES[kind]}://")]

    assert f"; tested with {versions_of(kind)} |" in row
