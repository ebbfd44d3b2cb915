"""Wheels and sdists: their content and their installation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.environment import ROOT, Environment, build

PARTS = sorted(file.parent.name for file in ROOT.glob("leadership_*/pyproject.toml"))

# pip asks the registry for each dependency, and builds each part: on a loaded machine that takes a minute.
pytestmark = [pytest.mark.build, pytest.mark.timeout(300)]


def _modules(wheel: Path) -> set[str]:
    """The files of a wheel without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.parametrize("part", PARTS)
def test_wheel_holds_every_file_of_the_folder(part: str, tmp_path: Path) -> None:
    """A wheel, built from the folder or from its sdist, holds the whole package."""
    package = {
        str(file.relative_to(ROOT))
        for file in (ROOT / part).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.name != "pyproject.toml"
    }
    sdist = build("sdist", ROOT / part, tmp_path / "sdist")
    command = [sys.executable, "-m", "tarfile", "-e", str(sdist), str(tmp_path / "unpacked")]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (unpacked,) = (tmp_path / "unpacked").iterdir()

    direct = build("wheel", ROOT / part, tmp_path / "direct")
    from_sdist = build("wheel", unpacked, tmp_path / "from_sdist")

    assert _modules(direct) == package
    assert _modules(from_sdist) == package
    with zipfile.ZipFile(from_sdist) as archive:
        assert [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]


def _installed_by(target: str, report: Path) -> dict[str, set[str]]:
    """The distributions that pip would install for a target, with their requirements."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    dry = ["--dry-run", "--ignore-installed", "--no-build-isolation", "--report", str(report)]
    subprocess.run([*pip, *dry, target], cwd=ROOT, check=True, capture_output=True, timeout=240)
    found = {}
    for item in json.loads(report.read_text())["install"]:
        wanted = map(Requirement, item["metadata"].get("requires_dist", []))
        found[canonicalize_name(item["metadata"]["name"])] = {
            canonicalize_name(one.name)
            for one in wanted
            if one.marker is None or one.marker.evaluate({"extra": ""})
        }
    return {str(name): {str(one) for one in needs} for name, needs in found.items()}


def test_plain_install_from_a_clone_brings_the_core_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip install .` installs leadership, leadership-core and pluggy."""
    monkeypatch.delenv("LEADERSHIP_RELEASE", raising=False)

    installed = _installed_by(".", tmp_path / "report.json")

    assert set(installed) == {"leadership", "leadership-core", "pluggy"}


@pytest.mark.parametrize(
    ("extra", "clients"),
    [
        ("consul", {"py-consul"}),
        ("etcd", {"etcd3", "grpcio", "protobuf"}),
        ("kubernetes", {"pyyaml"}),
        ("zookeeper", {"kazoo"}),
        ("prometheus", {"prometheus-client"}),
        ("opentelemetry", {"opentelemetry-api"}),
    ],
)
def test_extra_from_a_clone_brings_its_client_and_nothing_else(
    extra: str, clients: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip install '.[consul]'` adds the backend, py-consul and its dependencies, and so on."""
    monkeypatch.delenv("LEADERSHIP_RELEASE", raising=False)

    installed = _installed_by(f".[{extra}]", tmp_path / "report.json")

    ours = {"leadership", "leadership-core", f"leadership-{extra}", "pluggy"}
    assert installed[f"leadership-{extra}"] == {"leadership-core", *clients}
    needed, known = set(clients), set[str]()
    while needed - known:
        known |= needed
        needed |= set().union(*(installed[name] for name in known))
    assert set(installed) == ours | needed


def test_extra_all_brings_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install '.[all]'` installs every backend and every observer, and no tool."""
    monkeypatch.delenv("LEADERSHIP_RELEASE", raising=False)

    installed = _installed_by(".[all]", tmp_path / "report.json")

    wanted = {part.replace("_", "-") for part in PARTS} - {"leadership-bench"}
    assert {name for name in installed if name.startswith("leadership-")} == wanted


def test_wheels_install_together(tmp_path: Path) -> None:
    """All wheels can be installed together, each scheme is found, and each observer imported."""
    environment = Environment(tmp_path / "venv")
    wheels = [str(build("wheel", ROOT / part, tmp_path / part)) for part in PARTS]
    environment.install(*wheels)

    urls = (
        *("memory://x", "sqlite:///x.db", "consul://h", "etcd://h", "zk://h"),
        *("kubernetes://:t@h/n", "postgresql://h/d", "redis://h"),
    )
    printed = environment.run(
        "import leadership_core, logging, pathlib, sys\n"
        "logging.disable()  # no warnings about URLs without a password\n"
        "from leadership_core import open_store\n"
        "home = pathlib.Path(sys.prefix)\n"
        f"for url in {urls}:\n"
        "    with open_store(url):\n"
        "        print(url)\n"
        "import leadership_bench, leadership_opentelemetry, leadership_prometheus\n"
        "for name, module in sorted(sys.modules.items()):\n"
        "    if name.startswith('leadership_') and '.' not in name:\n"
        "        print(name, home in pathlib.Path(module.__file__).parents)\n"
    )

    assert printed.split() == [
        *urls,
        *(word for part in PARTS for word in (part, "True")),
    ]


def test_install_from_git_is_frozen_as_the_repository_and_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip freeze` prints repository and commit, not the deleted folder of a clone."""
    monkeypatch.delenv("LEADERSHIP_RELEASE", raising=False)
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, repository)
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "leadership_core", repository / "leadership_core", ignore=without_caches)
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True, timeout=30)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, timeout=30, capture_output=True, text=True
    ).stdout.strip()
    environment = Environment(tmp_path / "venv")

    environment.install_all(f"git+{repository.as_uri()}")

    place = f"git+file://localhost{repository}@{commit}"
    assert f"leadership-core @ {place}#subdirectory=leadership_core" in environment.frozen()
    assert how_to(environment) == (
        f"pip install 'leadership-consul @ {place}#subdirectory=leadership_consul'"
    )


def how_to(environment: Environment) -> str:
    script = "from leadership_core.installation import how_to_install as how; print(how('consul'))"
    return environment.run(script).strip()
