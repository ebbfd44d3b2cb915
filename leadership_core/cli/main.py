"""Which command is meant, and which exit code its outcome has."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from ..errors import ConfigurationError, LeadershipError, MissingPlugin, StoreUnavailable
from . import check, console, demo, elect, explain, follow, leader, logs, stores
from .arguments import ENVIRONMENT_URL, Command, parse

__all__ = ["main"]

COMMANDS = {
    command.name: command
    for command in (
        elect.COMMAND,
        follow.COMMAND,
        leader.COMMAND,
        stores.COMMAND,
        explain.COMMAND,
        check.COMMAND,
        demo.COMMAND,
    )
}

_EXIT_CODES = """\
exit codes:
  0  done
  1  it failed; `check`: the store is not sound
  2  wrong usage, URL, key or ttl: nothing was done
  3  `leader`: there is none
  4  the store cannot be reached"""


def main(words: Sequence[str] | None = None) -> int:
    """Run `leadership` with these words, or with those of the command line.

    Returns:
        The exit code.
    """
    console.prepare()
    words = sys.argv[1:] if words is None else words
    who = "leadership"
    verbose = False
    try:
        if not words or words[0].startswith("-"):
            return _without_command(words)
        command = _command(words[0])
        who = f"leadership {command.name}"
        arguments = parse(command, words[1:], _version())
        verbose = arguments.verbose
        logs.configure(verbose=verbose)
        return command.run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        console.silence()
        return 0
    except Exception as error:  # noqa: BLE001 - a traceback would not say what to do
        if isinstance(error, OSError):
            console.silence()  # a full disk: Python would fail once more when it flushes
        if verbose:
            logs.log.exception("it failed")
        console.complain(f"{who}: error", _said(error))
        return _exit_code(error)


def _exit_code(error: Exception) -> int:
    match error:
        case ConfigurationError() | MissingPlugin():
            return 2
        case StoreUnavailable():
            return 4
        case _:
            return 1


def _said(error: Exception) -> str:
    if isinstance(error, LeadershipError):
        return str(error) or type(error).__name__
    if isinstance(error, OSError):
        return f"the system refuses: {error}"
    return f"this is a mistake in leadership, please report it: {type(error).__name__}: {error}"


def _command(name: str) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    if "://" in name:  # not repeated: it may hold a password
        raise ConfigurationError(f"the command comes first: {', '.join(COMMANDS)}")
    near = difflib.get_close_matches(name[:60], COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f": there are {', '.join(COMMANDS)}"
    raise ConfigurationError(f"there is no command {name!r:.60}{hint}")


def _without_command(words: Sequence[str]) -> int:
    if not words:
        raise ConfigurationError(f"which command? There are {', '.join(COMMANDS)}; see --help")
    if words[0] in {"-h", "--help"}:
        console.put(_help())
    elif words[0] == "--version":
        console.put(_version())
    else:
        raise ConfigurationError("options go behind the command; see leadership --help")
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
            f"URL is where the store is; {ENVIRONMENT_URL} stands in for it. Examples:",
            "  sqlite:///file.db    consul://127.0.0.1:8500/prefix",
            "  etcd://host1:2379,host2:2379/prefix    zk://host1:2181,host2:2181/chroot",
            "Every user of the machine sees the words of a command: put a URL with a password into",
            f"{ENVIRONMENT_URL}, or the password into a file (token_file=, password_file=).",
            "`leadership COMMAND --help` says more about each.",
            "",
            _EXIT_CODES,
        ]
    )


def _version() -> str:
    try:
        return f"leadership {version('leadership-core')}"
    except PackageNotFoundError:
        return "leadership, not installed"
