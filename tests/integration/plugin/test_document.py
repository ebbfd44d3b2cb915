"""docs/write-a-store.md: its code blocks form a store that passes the contract."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from leadership_core.backend.protocols import Capability, StoreBackend
from leadership_core.testing import CALLS, Fault
from tests.integration.plugin.third_party import ThirdParty
from tests.packaging.environment import ROOT

PAGE = ROOT / "docs" / "write-a-store.md"
TEXT = PAGE.read_text()


@dataclass(frozen=True)
class Block:
    """A fenced block of the page."""

    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that its first line names."""
        first = self.text.partition("\n")[0]
        named = re.fullmatch(r"# ([\w/]+\.(?:py|toml))(?:, continued)?", first)
        assert named is not None, f"a block that names no file: {first}"
        return named[1]

    @property
    def commands(self) -> list[list[str]]:
        """The commands, split into words."""
        assert all(line.startswith("$ ") for line in self.text.splitlines()), self.text
        return [shlex.split(line[2:]) for line in self.text.splitlines()]


BLOCKS = [
    Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
]


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> ThirdParty:
    """Return an environment with the page's code, installed."""
    folder = tmp_path_factory.mktemp("author")
    for block in BLOCKS:
        if block.language in {"python", "toml"}:
            file = folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as growing:
                growing.write(block.text)
    author = ThirdParty(folder)
    author.install(str(ROOT / "leadership_core"), str(folder))
    return author


def test_page_has_only_tested_blocks() -> None:
    """Each block is part of a file or a command, and each command is tested here."""
    assert {block.language for block in BLOCKS} == {"python", "toml", "console"}
    typed = [words for block in BLOCKS if block.language == "console" for words in block.commands]

    assert [words[:2] for words in typed] == [
        ["pip", "install"],
        ["leadership", "stores"],
        ["leadership", "elect"],
        ["pytest"],
        ["leadership", "check"],
    ]


def test_page_links_exist() -> None:
    """Links lead to existing files and to headings of the page."""
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif "://" not in target:
            assert (PAGE.parent / target.partition("#")[0]).exists(), target
    for path in re.findall(r"`(leadership_\w+/[\w/]+\.py)`", TEXT):
        assert (ROOT / path).exists(), path


def test_page_names_every_capability_and_method() -> None:
    """Every capability, method and attribute of a store is described."""
    for capability in Capability:
        assert f"| `{capability.name}` |" in TEXT
    optional = re.findall(r"\n\n +`(\w+)[`(]", StoreBackend.__doc__ or "")
    assert len(optional) == 8
    for name in {*vars(StoreBackend), *optional}:
        if not name.startswith("_"):
            assert re.search(rf"`{name}\b", TEXT), name
    for name in re.findall(r"\bFault\.(\w+)", TEXT):
        assert name in Fault.__members__
    for name in re.findall(r'\.script\("(\w+)"', TEXT):
        assert name in CALLS


@pytest.mark.build
def test_shelf_is_listed_by_its_scheme(author: ThirdParty) -> None:
    """`leadership stores` lists the scheme and the distribution."""
    assert re.search(
        r"^shelf\b.*leadership-shelf 0\.1\.0", author.run("leadership", "stores"), re.MULTILINE
    )


@pytest.mark.build
@pytest.mark.timeout(240)
def test_shelf_passes_its_tests(author: ThirdParty) -> None:
    """The contract and the tests of faults of the page pass."""
    said = author.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", seconds=220)

    passed = re.search(r"^(\d+) passed in", said, re.MULTILINE)
    assert passed is not None, said
    assert int(passed[1]) > 100


@pytest.mark.build
def test_shelf_passes_mypy(author: ThirdParty) -> None:
    """The page's code is correct under mypy --strict, and implements the protocols."""
    claim = author.folder / "claim.py"
    claim.write_text(
        "from leadership_core.backend import Session, StoreBackend\n"
        "from leadership_shelf.store import ShelfSession, ShelfStore\n\n"
        "store: StoreBackend = ShelfStore('/tmp/x')\n\n\n"
        "def session(of: ShelfStore) -> Session:\n"
        "    return of.open_session(1.0)\n"
    )

    author.run(
        "python", "-m", "mypy", "--strict", "leadership_shelf", "tests", "claim.py", seconds=100
    )


@pytest.mark.build
def test_shelf_elects_with_the_command(author: ThirdParty) -> None:
    """Two candidates run as on the page, and the second is elected after the first."""
    (typed,) = (words for words in _typed() if words[:2] == ["leadership", "elect"])
    words = [_here(word, author.folder) for word in typed]
    with author.started(*words, "--json") as first:
        first.await_event("elected")
        with author.started(*words[:-1], "node-2", "--json") as second:
            first.signal(signal.SIGINT)
            second.await_event("elected")


@pytest.mark.build
@pytest.mark.timeout(240)
def test_shelf_passes_leadership_check(author: ThirdParty) -> None:
    """`leadership check` passes as on the page, with a shorter ttl and less contention."""
    (typed,) = (words for words in _typed() if words[:2] == ["leadership", "check"])
    words = [_here(word, author.folder) for word in typed]

    said = author.run(*words, "--ttl", "1", "--seconds", "3", seconds=220)

    assert "Verdict: PASS." in said
    assert "FAIL" not in said


def _typed() -> Iterator[list[str]]:
    for block in BLOCKS:
        if block.language == "console":
            yield from block.commands


def _here(word: str, folder: Path) -> str:
    return word.replace("/tmp/", f"{folder}/")
