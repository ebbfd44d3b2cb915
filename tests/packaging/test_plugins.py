"""Plugins of third parties: found by their scheme, and isolated when they are broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.environment import ROOT, Environment, build

pytestmark = [pytest.mark.build, pytest.mark.timeout(300)]

_PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "leadership-{scheme}"
version = "3.2.1"

[project.entry-points."leadership.stores"]
{scheme} = "leadership_{scheme}"
"""

# It uses the memory store, since the test is about finding the plugin.
_TOY = """
from dataclasses import replace
from leadership_core.backend import hookimpl
from leadership_core.stores import memory

@hookimpl
def leadership_open_store(url):
    return memory.leadership_open_store(url=replace(url, scheme="memory"))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the core, a working plugin and a broken one."""
    folder = tmp_path_factory.mktemp("plugins")
    made = Environment(folder / "venv")
    working = _plugin(folder, "toy", _TOY)
    broken = _plugin(folder, "broken", "raise OSError('the client library is cracked')\n")
    made.install(str(ROOT / "leadership_core"), str(working), str(broken))
    return made


def _plugin(folder: Path, scheme: str, code: str) -> Path:
    package = folder / scheme / f"leadership_{scheme}"
    package.mkdir(parents=True)
    (package.parent / "pyproject.toml").write_text(_PYPROJECT.format(scheme=scheme))
    (package / "__init__.py").write_text(code)
    return package.parent


def test_plugin_of_a_third_party_is_found_by_its_scheme(environment: Environment) -> None:
    """An installed plugin works without further steps."""
    printed = environment.run(
        "from leadership_core import Candidate, open_store\n"
        "with open_store('toy://shelf') as store:\n"
        "    with Candidate(store, 'service/leader', 'underwood', ttl=5).leading(4) as term:\n"
        "        print(term.token, term.lost)\n"
    )

    token, lost = printed.split()
    assert int(token) > 0
    assert lost == "False"


def test_broken_plugin_is_named_and_leaves_others_working(environment: Environment) -> None:
    """Its scheme fails with its name and the reason; other schemes work."""
    printed = environment.run(
        "from leadership_core import PluginError, open_store\n"
        "open_store('memory://here').close()\n"
        "open_store('toy://there').close()\n"
        "try:\n"
        "    open_store('broken://x')\n"
        "except PluginError as error:\n"
        "    print(error)\n"
    )

    assert "broken://" in printed
    assert "leadership-broken 3.2.1" in printed
    assert "the client library is cracked" in printed


def test_scheme_without_its_plugin_names_what_to_install(tmp_path: Path) -> None:
    """With the core alone, a URL of a backend names the missing distribution."""
    alone = Environment(tmp_path / "venv", sees_ours=False)
    alone.fetch("pluggy")
    alone.install(str(build("wheel", ROOT / "leadership_core", tmp_path / "wheel")))
    schemes = ("consul", "consul+tls", "etcd", "etcd+tls", "zk", "zookeeper")

    printed = alone.run(
        "from leadership_core import MissingPlugin, open_store\n"
        f"for scheme in {schemes!r}:\n"
        "    try:\n"
        "        open_store(f'{scheme}://h')\n"
        "    except MissingPlugin as error:\n"
        "        print(error)\n"
    )

    parts = ("consul", "consul", "etcd", "etcd", "zookeeper", "zookeeper")
    lines = printed.splitlines()
    assert len(lines) == len(schemes)
    for line, part in zip(lines, parts, strict=True):
        assert f"needs the distribution leadership-{part}, which is not installed" in line
        assert f"pip install leadership-{part}==" in line
