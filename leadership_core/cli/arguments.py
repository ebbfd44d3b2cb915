"""From the words of a command line to what a command needs; every error is one line."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from ..duration import parse_duration
from ..errors import ConfigurationError, URLError
from ..timing import check_ttl
from ..url import StoreURL

__all__ = ["ENVIRONMENT_URL", "Arguments", "Command", "parse"]

ENVIRONMENT_URL = "LEADERSHIP_URL"
"""Stands in for a URL that is left out."""

_TTL = 15.0  # seconds
_TIMEOUT = 5.0  # seconds
_CONTENTION = 10.0  # seconds
_LONGEST = 500  # characters of a message


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the user asked for; nothing here prints a secret."""

    command: str
    url: StoreURL | None = None
    url_text: str = field(default="", repr=False)  # as it was given, for other processes
    key: str = ""
    value: str = ""
    ttl: float = _TTL
    ttl_is_given: bool = False
    margin: float | None = None
    timeout: float = _TIMEOUT
    seconds: float = _CONTENTION
    json: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the program.

    Attributes:
        name: what the user types.
        summary: one line of `leadership --help`.
        description: what its own `--help` begins with.
        words: its positional arguments, in order; "[URL]" may be left out altogether.
        lease: whether it has `--ttl` and `--margin`.
        check: whether it has `--ttl` and `--seconds`.
        run: does it, and returns the exit code.
    """

    name: str
    summary: str
    description: str
    run: Callable[[Arguments], int] = field(repr=False)
    words: tuple[str, ...] = ()
    lease: bool = False
    check: bool = False

    @property
    def usage(self) -> str:
        """How it is called."""
        return " ".join(["leadership", self.name, *self.words])


def parse(command: Command, words: Sequence[str], version: str) -> Arguments:
    """Read the command line behind the name of the command.

    Raises:
        ConfigurationError: it cannot work; the message says why, and repeats no secret.
        SystemExit: `--help` or `--version` was asked for, and was printed.
    """
    # What follows a -- is no option. Taken out here, as the releases of argparse differ.
    end = words.index("--") if "--" in words else len(words)
    found, unknown = _parser(command, version).parse_known_intermixed_args(list(words[:end]))
    if unknown:
        option = unknown[0].split("=")[0][:60]
        raise ConfigurationError(
            f"unknown option {option!r}: see leadership {command.name} --help; "
            "a word that begins with - goes behind --"
        )
    given = _assign(command, [*found.words, *words[end + 1 :]], os.environ)
    key = given.get("KEY", "")
    if "://" in key:
        # The word is not repeated: a URL may hold a password.
        raise ConfigurationError(f"the key is a URL; the order is: {command.usage}")
    return Arguments(
        command=command.name,
        url=_url(given),
        url_text=given.get("URL") or given.get(ENVIRONMENT_URL, ""),
        key=key,
        value=given.get("VALUE", ""),
        ttl=_TTL if found.ttl is None else found.ttl,
        ttl_is_given=found.ttl is not None,
        margin=found.margin,
        timeout=found.timeout,
        seconds=found.seconds,
        json=found.json,
        verbose=found.verbose,
    )


class _Parser(argparse.ArgumentParser):
    """Raises its errors, so that they look like all others."""

    def error(self, message: str) -> NoReturn:
        # argparse repeats what was typed, which may be a URL with a password, or a whole file.
        raise ConfigurationError(re.sub(r"\S*://\S*", "...", message[:_LONGEST]))


def _parser(command: Command, version: str) -> _Parser:
    parser = _Parser(
        prog=f"leadership {command.name}",
        usage=f"{command.usage} [options]",
        description=command.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.set_defaults(ttl=None, margin=None, seconds=_CONTENTION)
    options = parser.add_argument_group("options")
    if command.lease:
        options.add_argument(
            "--ttl", metavar="TIME", type=_ttl,
            help="seconds after which a leader that has died is replaced (default: 15)",
        )  # fmt: skip
        options.add_argument(
            "--margin", metavar="TIME", type=_margin,
            help="seconds before the ttl at which a leader that cannot reach the store "
            "stops believing (a tenth of the ttl, at least 0.5 s)",
        )  # fmt: skip
    if command.check:
        options.add_argument(
            "--ttl", metavar="TIME", type=_ttl,
            help="seconds; by default the shortest that the store takes, from 2 on",
        )  # fmt: skip
        options.add_argument(
            "--seconds", metavar="TIME", type=_contention, default=_CONTENTION,
            help="how long to contend; longer if it takes longer (default: 10)",
        )  # fmt: skip
    options.add_argument("--json", action="store_true", help="print one JSON object a line")
    options.add_argument(
        "--timeout", metavar="TIME", type=_timeout, default=_TIMEOUT,
        help="seconds to wait for a store that does not answer (default: 5)",
    )  # fmt: skip
    options.add_argument("-v", "--verbose", action="store_true", help="say more, on stderr")
    options.add_argument("-h", "--help", action="help", help="print this")
    options.add_argument("--version", action="version", version=version, help="print the version")
    return parser


def _assign(command: Command, words: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Say which word is what. A URL is left out when there is one word too few without it."""
    given: dict[str, str] = {}
    names = [name for name in command.words if "URL" not in name]
    if len(names) < len(command.words):
        if words and (len(words) > len(names) or "://" in words[0]):
            given["URL"] = words.pop(0)
        elif environment.get(ENVIRONMENT_URL):
            given[ENVIRONMENT_URL] = environment[ENVIRONMENT_URL]
        elif "URL" in command.words:
            raise ConfigurationError(
                f"the URL is missing: write {command.usage}, or set {ENVIRONMENT_URL}"
            )
    if missing := names[len(words) :]:
        what = " and ".join(missing) + (" is" if len(missing) == 1 else " are")
        raise ConfigurationError(f"{what} missing: write {command.usage}")
    if len(words) > len(names):
        raise ConfigurationError(
            f"too many words: write {command.usage}, and quote what has spaces in it"
        )
    return given | dict(zip(names, words, strict=True))


def _url(given: Mapping[str, str]) -> StoreURL | None:
    if "URL" in given:
        return StoreURL.parse(given["URL"])
    if ENVIRONMENT_URL not in given:
        return None
    try:
        return StoreURL.parse(given[ENVIRONMENT_URL])
    except URLError as error:
        verb = " is" if str(error).startswith("not ") else ":"
        raise URLError(f"{ENVIRONMENT_URL}{verb} {error}") from None


def _ttl(text: str) -> float:
    ttl = _seconds("the ttl", text)
    try:
        return check_ttl(ttl)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _margin(text: str) -> float:
    return _seconds("the margin", text)


def _timeout(text: str) -> float:
    return _seconds("the timeout", text)


def _contention(text: str) -> float:
    return _seconds("the time to contend", text)


def _seconds(what: str, text: str) -> float:
    try:
        number = parse_duration(text)
    except ValueError:
        number = 0.0
    if number <= 0:
        raise argparse.ArgumentTypeError(
            f"{what} must be a positive number of seconds, such as 15, 15s, 1m or 500ms,"
            f" not {text!r:.60}"
        )
    return number
