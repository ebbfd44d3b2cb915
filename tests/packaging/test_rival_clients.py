"""Other distributions with a module `consul`: an error names them and the cure."""

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
    """Install the core and the Consul part."""
    parts = ("leadership_core", "leadership_consul")
    environment.install(*(str(build("wheel", ROOT / part, folder / part)) for part in parts))


@pytest.mark.parametrize("rival", ["python-consul", "python-consul2"])
def test_rival_earlier_on_the_path_is_named(rival: str, tmp_path: Path) -> None:
    """For example, the system's packages are visible in the environment."""
    environment = Environment(tmp_path / "venv")
    environment.fetch(rival, "six", "requests", "urllib3", "idna", "certifi", "charset-normalizer")

    printed = environment.run(_OPENS)

    assert printed.startswith("PluginError consul://"), printed
    assert f"is that of {rival} " in printed
    assert f"pip uninstall -y {rival} py-consul`" in printed
    assert "pip install 'py-consul>=1.8,<1.9'`" in printed


def test_rival_over_py_consul_is_named_until_removed(tmp_path: Path) -> None:
    """The cure in the message is enough."""
    environment = Environment(tmp_path / "venv", sees_ours=False)
    environment.fetch("pluggy", "py-consul>=1.8,<1.9")
    environment.fetch("python-consul", "six", "requests", "urllib3", "idna", "certifi")
    environment.fetch("charset-normalizer")
    _parts(environment, tmp_path)

    printed = environment.run(_OPENS)
    assert printed.startswith("PluginError consul://"), printed
    assert "python-consul 1" in printed
    assert "installed beside py-consul 1.8" in printed

    environment.remove("python-consul", "py-consul")
    environment.fetch("py-consul>=1.8,<1.9")
    assert environment.run(_OPENS) == "opened\n"


def test_rival_without_py_consul_is_named(tmp_path: Path) -> None:
    """The message asks to uninstall the rival only."""
    environment = Environment(tmp_path / "venv", sees_ours=False)
    environment.fetch("pluggy", "python-consul2", "six", "requests", "urllib3", "idna", "certifi")
    environment.fetch("charset-normalizer")
    _parts(environment, tmp_path)

    printed = environment.run(_OPENS)

    assert printed.startswith("PluginError consul://"), printed
    assert "pip uninstall -y python-consul2`" in printed
