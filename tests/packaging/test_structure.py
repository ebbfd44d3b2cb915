"""Structure of the product: imports, equal file names of the backends, sizes of files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import leadership_core
from leadership_core import backend, engine, testing
from tests.support.paths import ROOT

PLUGINS = [
    "leadership_consul",
    "leadership_etcd",
    "leadership_kubernetes",
    "leadership_postgres",
    "leadership_redis",
    "leadership_zookeeper",
]
OBSERVERS = ["leadership_prometheus", "leadership_opentelemetry"]
TOOLS = ["leadership_bench"]
PARTS = {
    *("__init__", "store", "options", "tls", "claim", "election", "session"),
    *("kv", "watch", "client", "transport", "errors"),
}
LEAVES = {"leadership_core.errors", "leadership_core.backend.url"}
"""Modules of the user API that `leadership_core.backend` may import, since they import little."""

VALUES = {
    "leadership_core.errors",
    "leadership_core.events",
    "leadership_core.lazy",
    "leadership_core.term",
}
"""Modules of the user API that the engine may import; none of candidate, follower, lock, store."""

MOST_LINES = 400


@cache
def modules() -> dict[str, Path]:
    """All modules of the product, by their dotted names."""
    found = {}
    for path in ROOT.glob("leadership_*/**/*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_in(path: Path, name: str) -> Iterator[str]:
    """The absolute names that a file imports, for type checking only included.

    Args:
        path: of the file.
        name: of its module.
    """
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(
                [*(above if node.level else []), *([node.module] if node.module else [])]
            )
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def graph() -> dict[str, set[str]]:
    """The modules of the product that each module imports."""
    known = modules()
    return {
        name: {
            module
            for found in imports_in(path, name)
            for module in [found if found in known else found.rpartition(".")[0]]
            if module in known and module != name
        }
        for name, path in known.items()
    }


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan's algorithm)."""
    found: list[list[str]] = []
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            start = stack.index(node)
            if len(stack) - start > 1:
                found.append(sorted(stack[start:]))
            del stack[start:]

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def test_circles_are_found() -> None:
    """The search finds a circle of two modules and one of three, and nothing else."""
    edges = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"c", "f"}, "f": set()}

    assert circles(edges) == [["c", "d", "e"], ["a", "b"]]


def test_imports_form_no_circle() -> None:
    """No module imports itself through others, for type checking only included."""
    assert circles(graph()) == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_backends_have_the_same_parts(plugin: str) -> None:
    """A part has the same file name in every backend."""
    missing = PARTS - {path.stem for path in (ROOT / plugin).glob("*.py")}

    assert missing == set()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_embedded_stores_have_a_store_module(store: str) -> None:
    """Like the other backends they define their store in `store.py`."""
    assert f"leadership_core.stores.{store}.store" in modules()


@pytest.mark.parametrize("plugin", [*PLUGINS, "examples/leadership_example"])
def test_plugin_imports_the_plugin_interface_only(plugin: str) -> None:
    """A plugin imports `leadership_core.backend`, and `leadership_core.testing` in tests."""
    for path in (ROOT / plugin).rglob("*.py"):
        allowed = {"leadership_core.backend"}
        if path.name.startswith(("test_", "conftest")):
            allowed.add("leadership_core.testing")
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        core = {one for one in imports_in(path, name) if one.startswith("leadership_core")}
        foreign = {one for one in core if one.rpartition(".")[0] not in allowed}
        assert foreign == set(), path


@pytest.mark.parametrize("observer", OBSERVERS)
def test_observer_imports_public_names_only(observer: str) -> None:
    """An observer imports the observers' module, the plugin interface, and the public names."""
    name, path = observer, modules()[observer]
    allowed = {"leadership_core", "leadership_core.observers", "leadership_core.backend"}
    core = {one for one in imports_in(path, name) if one.startswith("leadership_core")}

    assert {one for one in core if one.rpartition(".")[0] not in allowed} == set()


def test_bench_imports_public_names_and_the_opening_of_commands_only() -> None:
    """It measures what users have, and no other part imports it."""
    allowed = {"leadership_core", "leadership_core.observers", "leadership_core.cli.opening"}
    for name, path in modules().items():
        found = set(imports_in(path, name))
        if name.partition(".")[0] == "leadership_bench":
            core = {one for one in found if one.startswith("leadership_core")}
            assert {one for one in core if one.rpartition(".")[0] not in allowed} == set(), name
        else:
            assert not {one for one in found if one.startswith("leadership_bench")}, name


def test_folders_of_the_product_are_known() -> None:
    """Each leadership_* folder is the core, a backend, an observer or a tool."""
    folders = {path.parent.name for path in ROOT.glob("leadership_*/pyproject.toml")}

    assert folders == {"leadership_core", *PLUGINS, *OBSERVERS, *TOOLS}


def test_plugin_interface_imports_neither_engine_nor_user_api() -> None:
    """`leadership_core.backend` imports itself and the leaves."""
    for name, imported in graph().items():
        if name.startswith("leadership_core.backend"):
            others = {one for one in imported if not one.startswith("leadership_core.backend")}
            assert others <= LEAVES, name


def test_leaves_import_the_plugin_interface_only() -> None:
    """Otherwise the plugin interface could not import them."""
    for leaf in LEAVES:
        imported = {one for one in graph()[leaf] if not one.startswith("leadership_core.backend")}
        assert imported <= LEAVES, leaf


def test_engine_imports_plain_values_of_the_user_api_only() -> None:
    """The user API imports the engine, and not the other way round."""
    for name, imported in graph().items():
        if name.startswith("leadership_core.engine"):
            places = ("leadership_core.engine", "leadership_core.backend")
            assert {one for one in imported if not one.startswith(places)} <= VALUES, name
    for value in VALUES:
        assert not {one for one in graph()[value] if one.startswith("leadership_core.engine")}


def test_asyncio_is_imported_by_its_users_only() -> None:
    """No other part imports `leadership_core.aio`, so programs without an event loop do not load asyncio."""
    for name, imported in graph().items():
        if not name.startswith("leadership_core.aio"):
            assert not {one for one in imported if one.startswith("leadership_core.aio")}, name


def test_status_is_imported_by_its_option_only() -> None:
    """Programs that serve no status load no HTTP server; `--http` imports it when it is used."""
    importers = {
        name
        for name, imported in graph().items()
        if not name.startswith("leadership_core.status")
        and any(one.startswith("leadership_core.status") for one in imported)
    }

    assert importers == {"leadership_core.cli.status"}


def test_files_have_at_most_400_lines() -> None:
    """Longer files have more than one concept."""
    sizes = {name: len(path.read_text().splitlines()) for name, path in modules().items()}

    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}


@pytest.mark.parametrize("package", [leadership_core, backend, engine, testing])
def test_lazy_exports_agree_with_their_declarations(package: ModuleType) -> None:
    """The three lists in the `__init__.py` of such a package have the same names."""
    path = modules()[package.__name__]
    tree = ast.parse(path.read_text())
    declared = {
        (f"{'.' * node.level}{node.module or ''}", alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    module_of: dict[str, str] = package._MODULE_OF
    lazy = {(module, name) for name, module in module_of.items()}
    eager = {name for name in package.__all__ if name not in module_of}

    assert declared == lazy
    assert sorted(package.__all__) == sorted([*module_of, *eager])
    assert eager == {backend: {"clock", "errors"}, engine: {"load"}}.get(package, set())
    for name in package.__all__:
        assert hasattr(package, name), name
