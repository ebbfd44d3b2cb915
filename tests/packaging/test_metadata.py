"""Metadata of the distributions: versions, pins and extras."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hatch_build import ALIASES, BACKENDS, OBSERVERS, TOOLS, PartsHook

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(file.parent for file in ROOT.glob("leadership_*/pyproject.toml"))


def _project(folder: Path) -> dict[str, Any]:
    document = tomllib.loads((folder / "pyproject.toml").read_text())
    project: dict[str, Any] = document["project"]
    return project


def _written_by_hook(root: Path) -> dict[str, Any]:
    config = {"extras": {"test": ["pytest"]}}
    metadata: dict[str, Any] = {"name": "leadership", "version": "1.2.3"}
    PartsHook(str(root), config).update(metadata)
    return metadata


def test_versions_agree() -> None:
    """Every distribution has the version of the root."""
    versions = {folder.name: _project(folder)["version"] for folder in [ROOT, *FOLDERS]}

    assert len(set(versions.values())) == 1, versions


def test_parts_pin_the_core() -> None:
    """A backend or an observer requires the core with which it was tested."""
    pin = f"leadership-core=={_project(ROOT)['version']}"
    parts = [folder for folder in FOLDERS if folder.name != "leadership_core"]

    assert parts
    for folder in parts:
        assert pin in _project(folder)["dependencies"], folder.name


def test_core_depends_on_pluggy_alone() -> None:
    """The core depends on pluggy only."""
    assert _project(ROOT / "leadership_core")["dependencies"] == ["pluggy>=1.5"]


def test_names_follow_the_folders() -> None:
    """A distribution has the name of its folder, and its plugin is the package there."""
    for folder in FOLDERS:
        project = _project(folder)
        plugins = project.get("entry-points", {}).get("leadership.stores", {}).values()
        has_no_store = folder.name.removeprefix("leadership_") in OBSERVERS + TOOLS

        assert project["name"] == folder.name.replace("_", "-")
        assert {plugin.partition(".")[0] for plugin in plugins} == (
            set() if has_no_store else {folder.name}
        )
        assert (folder / "py.typed").is_file(), folder.name


def test_parts_all_have_an_extra() -> None:
    """Each leadership_* folder has an extra in the root, and an alias names one of them."""
    assert {folder.name for folder in FOLDERS} == {"leadership_core"} | {
        f"leadership_{name}" for name in BACKENDS + OBSERVERS + TOOLS
    }
    extras = _written_by_hook(ROOT)["optional-dependencies"]
    for alias, name in ALIASES.items():
        assert extras[alias] == extras[name]


def test_checkout_names_the_folders_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a clone the parts are its folders; a missing folder has no extra."""
    monkeypatch.delenv("LEADERSHIP_RELEASE", raising=False)
    (tmp_path / "leadership_core").mkdir()
    (tmp_path / "leadership_etcd").mkdir()

    metadata = _written_by_hook(tmp_path)

    etcd = f"leadership-etcd @ {(tmp_path / 'leadership_etcd').as_uri()}"
    assert metadata["dependencies"] == [
        f"leadership-core @ {(tmp_path / 'leadership_core').as_uri()}"
    ]
    assert metadata["optional-dependencies"] == {"etcd": [etcd], "all": [etcd], "test": ["pytest"]}


@pytest.mark.parametrize(
    ("folder", "origin", "wanted"),
    [
        ("pip-req-build-x1", "https://example.org/l.git", "git+https://example.org/l.git"),
        (
            "pip-install-x1/leadership_ab",
            "git@example.org:a/l.git",
            "git+ssh://git@example.org/a/l.git",
        ),
        ("git-v0/checkouts/a/b", "file:///srv/l", "git+file://localhost/srv/l"),
        ("pip-req-build-x1", "https://me:secret@example.org/l.git", None),
        ("pip-req-build-x1", "", None),
        ("work", "https://example.org/l.git", None),
    ],
)
def test_temporary_clone_names_the_commit(
    folder: str, origin: str, wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip deletes the clone, so its path must not be in the metadata."""
    monkeypatch.delenv("LEADERSHIP_RELEASE", raising=False)
    clone = tmp_path / folder
    (clone / "leadership_core").mkdir(parents=True)
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], check=True, timeout=30)
    if origin:
        subprocess.run([*git, "remote", "add", "origin", origin], check=True, timeout=30)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, timeout=30, capture_output=True, text=True
    ).stdout.strip()

    (core,) = _written_by_hook(clone)["dependencies"]

    if wanted:
        assert core == f"leadership-core @ {wanted}@{commit}#subdirectory=leadership_core"
    else:
        assert core == f"leadership-core @ {(clone / 'leadership_core').as_uri()}"


def test_source_distribution_names_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source distribution has no folders beside it, so it names versions."""
    monkeypatch.delenv("LEADERSHIP_RELEASE", raising=False)
    (tmp_path / "PKG-INFO").touch()

    assert _written_by_hook(tmp_path)["dependencies"] == ["leadership-core==1.2.3"]


def test_release_names_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release pins its parts by version, without paths of the build machine."""
    monkeypatch.setenv("LEADERSHIP_RELEASE", "1")
    for name in ("core", *BACKENDS, *OBSERVERS, *TOOLS):
        (tmp_path / f"leadership_{name}").mkdir()

    metadata = _written_by_hook(tmp_path)

    assert metadata["dependencies"] == ["leadership-core==1.2.3"]
    assert metadata["optional-dependencies"]["all"] == [
        f"leadership-{name}==1.2.3" for name in BACKENDS + OBSERVERS
    ]
    assert metadata["optional-dependencies"]["bench"] == ["leadership-bench==1.2.3"]
