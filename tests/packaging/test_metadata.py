"""The distributions move together, and the root names the ones that are there."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hatch_build import BACKENDS, PartsHook

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


def test_backends_pin_the_core() -> None:
    """A backend works with the core it was tested with, and with no other."""
    pin = f"leadership-core=={_project(ROOT)['version']}"
    backends = [folder for folder in FOLDERS if folder.name != "leadership_core"]

    assert backends
    for folder in backends:
        assert pin in _project(folder)["dependencies"], folder.name


def test_core_depends_on_pluggy_alone() -> None:
    """The core brings nothing but the plugin engine."""
    assert _project(ROOT / "leadership_core")["dependencies"] == ["pluggy>=1.5"]


def test_names_follow_the_folders() -> None:
    """A folder is the distribution of its name, and its plugin is a module inside it."""
    for folder in FOLDERS:
        project = _project(folder)
        plugins = project["entry-points"]["leadership.stores"].values()

        assert project["name"] == folder.name.replace("_", "-")
        assert {plugin.partition(".")[0] for plugin in plugins} == {folder.name}
        assert (folder / "py.typed").is_file(), folder.name


def test_backends_all_have_an_extra() -> None:
    """A new leadership_* folder cannot be forgotten in the root."""
    assert {folder.name for folder in FOLDERS} <= {"leadership_core"} | {
        f"leadership_{name}" for name in BACKENDS
    }


def test_checkout_names_the_folders_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a clone the parts come from its folders; what is not there has no extra."""
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
    """Its path is gone as soon as pip has ended, and `pip freeze` would go on printing it."""
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
    """A wheel that is built from it has no folders beside it."""
    monkeypatch.delenv("LEADERSHIP_RELEASE", raising=False)
    (tmp_path / "PKG-INFO").touch()

    assert _written_by_hook(tmp_path)["dependencies"] == ["leadership-core==1.2.3"]


def test_release_names_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release pins its parts and carries no path of the machine that built it."""
    monkeypatch.setenv("LEADERSHIP_RELEASE", "1")
    for name in ("core", *BACKENDS):
        (tmp_path / f"leadership_{name}").mkdir()

    metadata = _written_by_hook(tmp_path)

    assert metadata["dependencies"] == ["leadership-core==1.2.3"]
    assert metadata["optional-dependencies"]["all"] == [
        f"leadership-{name}==1.2.3" for name in BACKENDS
    ]
