"""Foreign text, made safe for a person to read: on one line, printable, and of bounded length."""

from __future__ import annotations

__all__ = ["MESSAGE_CHARACTERS", "one_line", "printable"]

MESSAGE_CHARACTERS = 1000
"""The most characters of a server's, a plugin's or another program's text in one message."""


def printable(text: str) -> str:
    """Return the text with every character escaped that a terminal may obey or that is invisible.

    Spaces stay. Line breaks, control and format characters (which reorder or hide text), lone
    surrogates and unassigned characters are written as in a Python literal.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def one_line(what: object, most: int = MESSAGE_CHARACTERS) -> str:
    """Return an object's text on one line: printable, bounded, runs of white space as one space.

    Args:
        what: an error, for example; one without text gives the name of its type.
        most: the most characters that are taken from it.
    """
    text = str(what)
    # Cut before anything else is done with it: a server's text may have megabytes.
    words = " ".join(text[: 4 * most].split())
    if len(words) > most or len(text) > 4 * most:
        words = f"{words[:most]}... ({len(text)} characters)"
    return printable(words) or type(what).__name__
