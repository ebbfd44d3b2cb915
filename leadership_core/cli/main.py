"""Entry point of `leadership`: selects the command, and maps errors to exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import ConfigurationError, LeadershipError, MissingPlugin, StoreUnavailable
from . import output
from .command import ENVIRONMENT_URL
from .commands import COMMANDS

__all__ = ["main"]

_VERSION = f"leadership {__version__}"


_EXIT_CODES = """\
exit codes:
  0  success
  1  failed; `check`: a check of the store failed
  2  wrong usage, URL, key or ttl: nothing was done
  3  `leader`: there is no leader
  4  the store cannot be reached
`run` ends with the exit code of its command, or 128 + the number of a signal; 126 and 127: the command
cannot be executed, or does not exist"""


def main(words: Sequence[str] | None = None) -> int:
    """Run `leadership` with these words, or with those of the command line.

    Returns:
        The exit code.
    """
    output.prepare()
    words = sys.argv[1:] if words is None else words
    source = "leadership"
    verbose = False
    try:
        if not words or words[0].startswith("-"):
            return _run_without_command(words)
        name = words[0]
        if name not in COMMANDS:
            raise _unknown_command(name)
        source = f"leadership {name}"
        from .arguments import parse  # only here: it imports argparse

        arguments = parse(COMMANDS[name], words[1:], _VERSION)
        from .logs import configure_logging  # not for `--help`

        verbose = arguments.verbose
        configure_logging(verbose=verbose)
        return COMMANDS[name].load()(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        output.silence()
        return 0
    except Exception as error:  # noqa: BLE001 - a traceback would not say what to do
        if isinstance(error, OSError):
            output.silence()  # a full disk: Python would fail again when it flushes
        if verbose:
            from .logs import log

            log.exception("the command failed")
        return _report(source, error)


def _report(source: str, error: Exception) -> int:
    """Print the error on stderr, and return the exit code."""
    match error:
        case LeadershipError():
            message = str(error) or type(error).__name__
        case OSError():
            message = f"the operating system refuses: {error}"
        case _:
            message = f"internal error, please report it: {type(error).__name__}: {error}"
    output.print_error(f"{source}: error", message)
    match error:
        case ConfigurationError() | MissingPlugin():
            return 2
        case StoreUnavailable():
            return 4
        case _:
            return 1


def _unknown_command(name: str) -> ConfigurationError:
    if "://" in name:  # not repeated: it may hold a password
        return ConfigurationError(f"the command comes first: {', '.join(COMMANDS)}")
    import difflib

    near = difflib.get_close_matches(name[:60], COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; choose from {', '.join(COMMANDS)}"
    return ConfigurationError(f"there is no command {name!r:.60}{hint}")


def _run_without_command(words: Sequence[str]) -> int:
    if not words:
        raise ConfigurationError(f"no command given; choose from {', '.join(COMMANDS)}; see --help")
    if words[0] in {"-h", "--help"}:
        output.print_line(_help())
    elif words[0] == "--version":
        output.print_line(_VERSION)
    else:
        raise ConfigurationError("options come after the command; see leadership --help")
    return 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: leadership COMMAND [URL] [KEY] [VALUE] [options]",
            "",
            "Leader election on the key-value store that you already have.",
            "",
            "commands:",
            *lines,
            "",
            f"URL names the store; if it is left out, {ENVIRONMENT_URL} is used. Examples:",
            "  sqlite:///file.db    consul://127.0.0.1:8500/prefix",
            "  etcd://host1:2379,host2:2379/prefix    zk://host1:2181,host2:2181/chroot",
            "  postgresql://user@host/database    redis://host:6379    kubernetes:///namespace",
            "All users of the machine can read command lines: put a URL with a password into",
            f"{ENVIRONMENT_URL}, or the password into a file (token_file=, password_file=).",
            "`leadership COMMAND --help` explains each command.",
            "",
            _EXIT_CODES,
        ]
    )
