"""Parser of the command line; every error is one line without secrets."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ..backend.duration import parse_duration
from ..backend.validation import check_ttl
from ..errors import ConfigurationError, URLError
from .addresses import parse_address
from .bench_options import BenchOptions, add_bench_options
from .command import ENVIRONMENT_URL, Command

if TYPE_CHECKING:
    from ..backend.url import StoreURL

__all__ = ["Arguments", "add_options", "parse"]

_TTL = 15.0  # seconds
_TIMEOUT = 5.0  # seconds
_CONTENTION = 10.0  # seconds
_LONGEST = 500  # characters of a message


class Arguments(NamedTuple):
    """The parsed command line; its repr shows no secret."""

    command: str
    url: StoreURL | None = None
    url_text: str = ""  # with its secrets, for other processes
    key: str = ""
    value: str = ""
    shell: str = ""
    ttl: float = _TTL
    ttl_is_given: bool = False
    margin: float | None = None
    timeout: float = _TIMEOUT
    seconds: float = _CONTENTION
    once: bool = False
    grace: float | None = None
    child: tuple[str, ...] = ()
    http: tuple[str, int] | None = None
    urls: tuple[str, ...] = ()
    bench: BenchOptions = BenchOptions()
    json: bool = False
    verbose: bool = False

    def __repr__(self) -> str:
        return f"<Arguments of {self.command}>"


def parse(command: Command, words: Sequence[str], version: str) -> Arguments:
    """Parse the words after the name of the command.

    Args:
        command: the command.
        words: the words.
        version: the text of `--version`.

    Raises:
        ConfigurationError: they are wrong; the message says why, and repeats no secret.
        SystemExit: `--help` or `--version` was given, and was printed.
    """
    # Words after -- are no options. They are split off here, as releases of argparse differ.
    end = words.index("--") if "--" in words else len(words)
    found, unknown = _parser(command, version).parse_known_intermixed_args(list(words[:end]))
    if unknown:
        option = unknown[0].split("=")[0][:60]
        raise ConfigurationError(
            f"unknown option {option!r}: see leadership {command.name} --help; "
            "put a word that begins with - after --"
        )
    rest = words[end + 1 :]
    if command.bench:
        return _bench(command, found, [*found.words, *rest])
    given = _assign(command, [*found.words, *([] if command.child else rest)], os.environ)
    if command.child and not rest:
        raise ConfigurationError(f"the command to run is missing: write {command.usage}")
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
        shell=given.get("SHELL", ""),
        ttl=_TTL if found.ttl is None else found.ttl,
        ttl_is_given=found.ttl is not None,
        margin=found.margin,
        timeout=found.timeout,
        seconds=found.seconds,
        once=found.once,
        grace=found.grace,
        child=tuple(rest) if command.child else (),
        http=found.http,
        json=found.json,
        verbose=found.verbose,
    )


def _bench(command: Command, found: argparse.Namespace, words: list[str]) -> Arguments:
    default = os.environ.get(ENVIRONMENT_URL)
    urls = words or ([default] if default else [])
    from ..backend.url import StoreURL

    for url in urls:
        StoreURL.parse(url)
    return Arguments(
        command=command.name,
        urls=tuple(urls),
        bench=BenchOptions.of(found),
        timeout=found.timeout,
        verbose=found.verbose,
    )


class _Parser(argparse.ArgumentParser):
    """Raises its errors, so that they are reported like all others."""

    def error(self, message: str) -> NoReturn:
        # argparse repeats what was typed, which may be a URL with a password, or a whole file.
        raise ConfigurationError(re.sub(r"\S*://\S*", "...", message[:_LONGEST]))


def _parser(command: Command, version: str) -> _Parser:
    parser = _Parser(
        prog=f"leadership {command.name}",
        usage=" ".join(
            ["leadership", command.name, *command.words, "[options]", *command.usage_of_child]
        ),
        description=command.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.set_defaults(
        ttl=None, margin=None, seconds=_CONTENTION, once=False, grace=None, http=None
    )
    add_options(parser, command, version)
    return parser


def add_options(parser: argparse.ArgumentParser, command: Command, version: str) -> None:
    """Add the options of the command to a parser: of the command line, or of its completion."""
    options = parser.add_argument_group("options")
    if command.lease:
        options.add_argument(
            "--ttl", metavar="TIME", type=_ttl,
            help="seconds after which a crashed leader is replaced (default: 15)",
        )  # fmt: skip
        options.add_argument(
            "--margin", metavar="TIME", type=partial(_seconds, "the margin"),
            help="seconds before the end of the ttl at which a leader without the store "
            "stops leading (default: a tenth of the ttl, at least 0.5 s)",
        )  # fmt: skip
    if command.check:
        options.add_argument(
            "--ttl", metavar="TIME", type=_ttl,
            help="seconds (default: the shortest ttl that the store accepts, at least 2)",
        )  # fmt: skip
        options.add_argument(
            "--seconds", metavar="TIME", type=partial(_seconds, "the time to contend"), default=_CONTENTION,
            help="seconds of contention, at least (default: 10)",
        )  # fmt: skip
    if command.child:
        options.add_argument(
            "--once", action="store_true", help="exit after the first term, however it has ended"
        )
        options.add_argument(
            "--grace", metavar="TIME", type=partial(_seconds, "the grace"),
            help="seconds between telling the child to end and killing it (default: 10); "
            "fewer when the store does not answer, so that it is dead before the lease ends",
        )  # fmt: skip
    if command.http:
        options.add_argument(
            "--http", metavar="HOST:PORT", type=_address,
            help="serve the status there: a live page, /leader, /livez, /readyz, /metrics; "
            "all who reach it can read it (PORT alone: this machine only; 0: a free port)",
        )  # fmt: skip
    if command.bench:
        add_bench_options(options)
    else:
        options.add_argument("--json", action="store_true", help="print one JSON object per line")
    options.add_argument(
        "--timeout", metavar="TIME", type=partial(_seconds, "the timeout"), default=_TIMEOUT,
        help="seconds to wait for the first answer of the store (default: 5)",
    )  # fmt: skip
    options.add_argument(
        "-v", "--verbose", action="store_true", help="print more of the log on stderr"
    )
    options.add_argument("-h", "--help", action="help", help="print this help")
    options.add_argument("--version", action="version", version=version, help="print the version")


def _assign(command: Command, words: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Assign the words to the names. The URL counts as left out if there is one word too few."""
    given: dict[str, str] = {}
    names = [name.strip("[]") for name in command.words if "URL" not in name]
    optional = sum(name.startswith("[") for name in command.words if "URL" not in name)
    if len(names) < len(command.words):
        if words and (len(words) > len(names) or "://" in words[0]):
            given["URL"] = words.pop(0)
        elif environment.get(ENVIRONMENT_URL):
            given[ENVIRONMENT_URL] = environment[ENVIRONMENT_URL]
        elif "URL" in command.words:
            raise ConfigurationError(
                f"the URL is missing: write {command.usage}, or set {ENVIRONMENT_URL}"
            )
    if missing := names[len(words) : len(names) - optional]:
        what = " and ".join(missing) + (" is" if len(missing) == 1 else " are")
        raise ConfigurationError(f"{what} missing: write {command.usage}")
    if len(words) > len(names):
        raise ConfigurationError(
            f"too many words: write {command.usage}"
            + (
                " (the two dashes are needed)"
                if command.child
                else ", and quote what has spaces in it"
            )
        )
    return given | dict(zip(names, words, strict=False))


def _url(given: Mapping[str, str]) -> StoreURL | None:
    if not given.keys() & {"URL", ENVIRONMENT_URL}:
        return None
    from ..backend.url import StoreURL  # only here: `--help` and `stores` parse no URL

    if "URL" in given:
        return StoreURL.parse(given["URL"])
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


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
