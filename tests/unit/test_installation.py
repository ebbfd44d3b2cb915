"""Advice on installing a missing backend: never a name that a stranger may have registered."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from leadership_core.installation import how_to_install


class Core:
    """The core's distribution, as an installer has recorded it."""

    version = "1.2.3"

    def __init__(self, origin: object) -> None:
        self._origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self._origin is None else json.dumps(self._origin)


@pytest.fixture
def advice(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    monkeypatch.setattr(metadata, "distribution", lambda name: Core(request.param))
    return how_to_install("consul")


def test_advice_for_a_clone_is_the_folder_beside_the_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is quoted for a shell."""
    clone = tmp_path / "a clone"
    for name in ("core", "consul"):
        (clone / f"leadership_{name}").mkdir(parents=True)
    origin = {"url": (clone / "leadership_core").as_uri(), "dir_info": {}}
    monkeypatch.setattr(metadata, "distribution", lambda name: Core(origin))

    assert how_to_install("consul") == f"pip install '{clone}/leadership_consul'"


@pytest.mark.parametrize(
    "advice",
    [
        {
            "url": "https://example.org/leadership.git",
            "vcs_info": {"vcs": "git", "commit_id": "c0ffee"},
            "subdirectory": "leadership_core",
        }
    ],
    indirect=True,
)
def test_advice_for_a_repository_is_the_same_commit(advice: str) -> None:
    """The core and the backend have to fit."""
    assert advice == (
        "pip install 'leadership-consul @ git+https://example.org/leadership.git@c0ffee"
        "#subdirectory=leadership_consul'"
    )


@pytest.mark.parametrize(
    "advice",
    [None, [], {"url": "file:///gone/leadership_core", "dir_info": {}}, {"vcs_info": 1}],
    indirect=True,
)
def test_advice_for_an_index_is_the_same_version(advice: str) -> None:
    """It names only the index that the core was installed from."""
    assert advice.startswith("pip install leadership-consul==1.2.3, from the index or the folder")


def test_advice_without_an_installation_is_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages are on PYTHONPATH only."""

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)

    assert "leadership_consul beside leadership_core" in how_to_install("consul")
