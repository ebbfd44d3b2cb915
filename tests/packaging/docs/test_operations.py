"""The pages of operations and recipes against the source: loggers, messages, files and links."""

from __future__ import annotations

import re

import pytest

from tests.packaging.environment import ROOT

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
RECIPES = (ROOT / "docs" / "recipes.md").read_text()
SOURCES = [path.read_text() for path in ROOT.glob("leadership_*/**/*.py")]
LITERALS = re.sub(r'"\s*\n\s*f?"', "", "\n".join(SOURCES))


def section(title: str) -> str:
    """One section of the operations page."""
    return OPERATIONS.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("text", re.findall(r"^\| `([^`]+)`", section("Messages"), re.MULTILINE))
def test_quoted_message_exists(text: str) -> None:
    """Each message of the page is in the source; what varies is written as `...` in the page."""
    for part in text.split("..."):
        assert part.strip() in LITERALS, part


def test_every_logger_is_listed() -> None:
    """The table has each logger of the core by its name, and those of the modules by their package."""
    named = set(re.findall(r'getLogger\("(leadership[\w.]*)"\)', LITERALS))
    listed = set(re.findall(r"`(leadership[\w.]*)`", section("Logs")))

    assert named - listed - {"leadership"} == set()


def test_every_recipe_is_listed() -> None:
    """Each file or folder of `examples` that is no plugin has its link in the page."""
    linked = set(re.findall(r"\(\.\./examples/([\w./-]+)\)", RECIPES))
    shown = {name.partition("/")[0] for name in linked}
    there = {path.name for path in (ROOT / "examples").iterdir() if path.name != "__pycache__"}

    assert there - shown - {"leadership_example", "monitoring", "shared_directory"} == set()
    assert all((ROOT / "examples" / name).exists() for name in linked)


@pytest.mark.parametrize("page", ["operations.md", "recipes.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Files exist, and the headings that are linked to."""
    text = (ROOT / "docs" / page).read_text()
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", text):
        assert not target or (ROOT / "docs" / target).exists(), target
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", text):
        headings = (ROOT / "docs" / (target or page)).read_text()
        anchors = {
            re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", headings, re.MULTILINE)
        }
        assert anchor in anchors, f"{target}#{anchor}"
