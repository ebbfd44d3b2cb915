"""python-consul and python-consul2 bring a module `consul`, too: that is told, with the cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.environment import ROOT, Environment, build

pytestmark = [pytest.mark.build, pytest.mark.timeout(300)]

_OPENS = """
from leadership_core import LeadershipError, open_store
try:
    open_store("consul://127.0.0.1:1").close()
    print("opened")
except LeadershipError as error:
    print(type(error).__name__, error)
"""


def _parts(environment: Environment, folder: Path) -> None:
    """Install ours, built with the tools that are here: the environment has none."""
    parts = ("leadership_core", "leadership_consul")
    environment.install(*(str(build("wheel", ROOT / part, folder / part)) for part in parts))


@pytest.mark.parametrize("rival", ["python-consul", "python-consul2"])
def test_a_rival_that_comes_first_is_named(rival: str, tmp_path: Path) -> None:
    """As in an environment that sees the packages of the system."""
    environment = Environment(tmp_path / "venv")
    environment.fetch(rival, "six", "requests", "urllib3", "idna", "certifi", "charset-normalizer")

    said = environment.run(_OPENS)

    assert said.startswith("PluginError consul://"), said
    assert f"is that of {rival} " in said
    assert f"pip uninstall -y {rival} py-consul`" in said
    assert "pip install 'py-consul>=1.8,<1.9'`" in said


def test_a_rival_that_lies_over_it_is_named_until_it_is_mended(tmp_path: Path) -> None:
    """What the sentence says to do is enough."""
    environment = Environment(tmp_path / "venv", sees_ours=False)
    environment.fetch("pluggy", "py-consul>=1.8,<1.9")
    environment.fetch("python-consul", "six", "requests", "urllib3", "idna", "certifi")
    environment.fetch("charset-normalizer")
    _parts(environment, tmp_path)

    said = environment.run(_OPENS)
    assert said.startswith("PluginError consul://"), said
    assert "python-consul 1" in said
    assert "installed beside py-consul 1.8" in said

    environment.remove("python-consul", "py-consul")
    environment.fetch("py-consul>=1.8,<1.9")
    assert environment.run(_OPENS) == "opened\n"


def test_a_rival_alone_is_named(tmp_path: Path) -> None:
    """Without py-consul, only it is to be uninstalled."""
    environment = Environment(tmp_path / "venv", sees_ours=False)
    environment.fetch("pluggy", "python-consul2", "six", "requests", "urllib3", "idna", "certifi")
    environment.fetch("charset-normalizer")
    _parts(environment, tmp_path)

    said = environment.run(_OPENS)

    assert said.startswith("PluginError consul://"), said
    assert "pip uninstall -y python-consul2`" in said
