"""The layout of the store plugins: the same part has the same file name in each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = (
    "leadership_consul",
    "leadership_etcd",
    "leadership_kubernetes",
    "leadership_postgres",
    "leadership_redis",
    "leadership_zookeeper",
)
PARTS = {
    "__init__", "store", "options", "tls", "claim", "election", "session", "kv", "watch", "client",
    "transport", "errors",
}  # fmt: skip
MOST_LINES = 400


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_has_every_part_under_its_common_name(plugin: str) -> None:
    """Further files are those that the protocol of its server needs."""
    names = {path.stem for path in (ROOT / plugin).glob("*.py")}

    assert PARTS - names == set()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_files_are_readable_in_one_go(plugin: str) -> None:
    """No file of a plugin has more than 400 lines."""
    sizes = {path.name: len(path.read_text().splitlines()) for path in (ROOT / plugin).glob("*.py")}

    assert {name: lines for name, lines in sizes.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_embedded_store_is_in_the_file_of_that_name(kind: str) -> None:
    """As in the plugins, `store.py` has the class that implements the protocol of a store."""
    assert (ROOT / "leadership_core" / "stores" / kind / "store.py").is_file()
