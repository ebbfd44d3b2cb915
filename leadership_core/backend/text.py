"""Foreign text made safe for messages: on one line, printable, and of bounded length."""

from __future__ import annotations

__all__ = ["MESSAGE_CHARACTERS", "one_line", "printable"]

MESSAGE_CHARACTERS = 1000
"""Limit for the text of a server, a plugin or another program in one message."""


def printable(text: str) -> str:
    """Escape all characters that are invisible, or that control a terminal.

    Spaces stay. Line breaks, control and format characters (which reorder or hide text), lone
    surrogates and unassigned characters are written as in a Python literal.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def one_line(what: object, most: int = MESSAGE_CHARACTERS) -> str:
    """Return an object's text on one line: printable, bounded, runs of white space as one space.

    Args:
        what: for example an error; the name of its type stands for an empty text.
        most: the most characters of the text to return.
    """
    text = str(what)
    # Cut before anything else is done with it: a server's text may have megabytes.
    words = " ".join(text[: 4 * most].split())
    if len(words) > most or len(text) > 4 * most:
        words = f"{words[:most]}... ({len(text)} characters)"
    return printable(words) or type(what).__name__
