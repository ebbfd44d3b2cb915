"""`leadership run`: runs a command while it leads, and only then."""

from __future__ import annotations

from .arguments import Arguments, Command

__all__ = ["COMMAND"]


def run(arguments: Arguments) -> int:
    # Only here: no other command pays for it, nor needs an operating system with process groups.
    from .run_command import run_command

    return run_command(arguments)


COMMAND = Command(
    name="run",
    summary="run a command while it leads, and only then",
    description=(
        "Campaigns in the election, and runs COMMAND while it leads: the command is dead before\n"
        "another candidate can lead. It finds the election in LEADERSHIP_KEY, LEADERSHIP_VALUE,\n"
        "LEADERSHIP_URL and LEADERSHIP_TOKEN, the fencing token of the term. When the term is lost,\n"
        "it is ended, and run campaigns again; when it ends by itself, run leaves the election and\n"
        "ends with its exit code. SIGTERM, SIGINT and SIGHUP are passed on, and end run, too;\n"
        "SIGUSR1 ends the command, resigns, and campaigns again. VALUE is by default the name of\n"
        "the host and the process id. Messages go to stderr; stdin and stdout belong to COMMAND."
    ),
    words=("URL", "KEY", "[VALUE]"),
    lease=True,
    child=True,
    http=True,
    run=run,
)
