"""Foreign text in messages: on one line, printable, and bounded in length."""

from __future__ import annotations

import pytest

from leadership_core.backend.text import MESSAGE_CHARACTERS, one_line, printable


@pytest.mark.parametrize(
    ("text", "safe_repr"),
    [
        ("plain é 日本", "plain é 日本"),
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("a\nb\tc", r"a\nb\tc"),
        ("ab\u202ecd\u200b\ufeff", r"ab\u202ecd\u200b\ufeff"),
        ("\ud800\udce9", r"\ud800\udce9"),
        ("\u2028\x85\xa0", r"\u2028\x85\xa0"),
    ],
)
def test_control_characters_are_escaped(text: str, safe_repr: str) -> None:
    """Invisible characters and those that reorder text are escaped, too."""
    assert printable(text) == safe_repr


def test_error_text_is_one_line() -> None:
    """Runs of white space are one space, and an error without text gives its type."""
    assert one_line(ValueError("a\n  b\r\n\x1b[2J")) == r"a b \x1b[2J"
    assert one_line(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize("size", [MESSAGE_CHARACTERS + 1, 50_000_000])
def test_long_text_is_cut(size: int) -> None:
    """The text says how long it was."""
    shown = one_line("x" * size)

    assert shown == f"{'x' * MESSAGE_CHARACTERS}... ({size} characters)"
    assert len(one_line(" " * size + "x")) < 2 * MESSAGE_CHARACTERS
    assert one_line("x" * MESSAGE_CHARACTERS) == "x" * MESSAGE_CHARACTERS
