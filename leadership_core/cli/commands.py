"""All commands of the program, as they are declared: `--help` shows them, and loads none of them."""

from __future__ import annotations

from .command import Command

__all__ = ["COMMANDS"]

_DECLARED = (
    Command(
        name="elect",
        summary="campaign until SIGTERM or SIGINT",
        description=(
            "Campaigns in the election, and prints its events. Followers see VALUE while it is\n"
            "leader. SIGTERM and SIGINT resign and stop it, and a second one ends it at once. SIGUSR1\n"
            "resigns and campaigns again. After the first answer of the store, an outage may last any time."
        ),
        words=("URL", "KEY", "VALUE"),
        lease=True,
        http=True,
    ),
    Command(
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
    ),
    Command(
        name="follow",
        summary="print the leader, and every change",
        description=(
            "Prints the present leader, and then every change, until SIGTERM or SIGINT. An outage of\n"
            "the store is reported on stderr; until it ends, the last line may be out of date.\n"
            "The lines are for people: unprintable characters are escaped, and a long value is cut.\n"
            "--json prints the whole value."
        ),
        words=("URL", "KEY"),
        http=True,
    ),
    Command(
        name="leader",
        summary="print the present leader; exit code 3 if there is none",
        description="Prints the leader's value and exits with 0. If there is no leader, it exits with 3 and\n"
        "prints nothing, but for a line on stderr if that is a terminal. A pipe or a file gets the value\n"
        "byte for byte, line breaks included; on a terminal unprintable characters are escaped, and a\n"
        "long value is cut.",
        words=("URL", "KEY"),
    ),
    Command(
        name="stores",
        summary="list the kinds of store that are installed",
        description="Lists the URL schemes that can be opened, each with the distribution that\n"
        "provides it.",
    ),
    Command(
        name="explain",
        summary="print what a ttl means on this store, in seconds",
        description="Opens a session on the store, closes it again, and prints what follows from the ttl\n"
        "that was granted: how long a leader leads without the store, which outage it tolerates, and\n"
        "how soon there is another leader.",
        words=("URL",),
        lease=True,
    ),
    Command(
        name="check",
        summary="test whether a store does what elections need",
        description=(
            "Runs the contract of stores against your store, then lets four processes campaign in one\n"
            "election: one is killed, one paused past its lease, the others resign again and again.\n"
            "Prints what passed, what failed, and what a failure means. It uses only keys that begin\n"
            "with leadership-check-, and removes them. A database file or a chroot that does not exist\n"
            "is created, and stays. Exit code 0: PASS, 1: FAIL."
        ),
        words=("URL",),
        check=True,
    ),
    Command(
        name="demo",
        summary="watch an election: a crash, a pause, a resignation",
        description=(
            "Starts three candidates, kills the leader, pauses the next leader past its lease, lets the\n"
            "next one resign, and prints what happens. Takes less than a minute. Without a URL it runs\n"
            "on a database file in a temporary folder; on a store of yours it uses a key of its own,\n"
            "and removes it."
        ),
        words=("[URL]",),
    ),
    Command(
        name="bench",
        summary="measure this library beside other clients",
        description=(
            "Measures elections, hand-overs, crashes, traffic and memory on each store, beside the clients\n"
            "that one would use instead: kazoo, etcdctl, consul lock, python-etcd3, etcd3gw, tooz,\n"
            "grelmicro and redis-py, those that are installed. Keys are below leadership-bench/, where a\n"
            "client lets one choose them, and are deleted at the end. One URL per kind of store; without\n"
            "one, it measures that of LEADERSHIP_URL, or the embedded store in a temporary file. A run\n"
            "takes about six minutes for one store and a quarter of an hour for five, and with --quick a\n"
            "third of that. It needs the distribution leadership-bench. Do not run it on servers in use:\n"
            "it loads them."
        ),
        words=("[URL...]",),
        bench=True,
    ),
    Command(
        name="completion",
        summary="print the script that completes command lines in bash, zsh or fish",
        description=(
            "Prints a script for bash, zsh or fish. To use it in every new shell:\n"
            "  bash  leadership completion bash >~/.local/share/bash-completion/completions/leadership\n"
            "  zsh   leadership completion zsh >FOLDER/_leadership    (a folder of $fpath)\n"
            "  fish  leadership completion fish >~/.config/fish/completions/leadership.fish\n"
            "bash needs the package bash-completion for that; without it, put\n"
            '  eval "$(leadership completion bash)"\n'
            "into ~/.bashrc."
        ),
        words=("SHELL",),
        choices=("bash", "zsh", "fish"),
    ),
)

COMMANDS = {command.name: command for command in _DECLARED}
"""The commands by their names, in the order of `leadership --help`."""
