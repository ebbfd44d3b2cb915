"""`leadership completion`: the scripts, in real shells."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

from leadership_core.cli.commands import COMMANDS
from leadership_core.cli.completion import SCRIPTS
from tests.support.servers.requirements import found
from tests.support.waiting import at_most
from tests.unit.cli.command import run
from tools.completion import script

_COMMANDS = sorted(COMMANDS)
_CASES = [
    ("leadership ", _COMMANDS),
    ("leadership e", ["elect", "explain"]),
    ("leadership elect --t", ["--timeout", "--ttl"]),
    ("leadership elect --ttl 5 sqlite:///x key --ma", ["--margin"]),
    ("leadership stores --t", ["--timeout"]),
    ("leadership run sqlite:///x key --o", ["--once"]),
    ("leadership completion ", sorted(SCRIPTS)),
]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_completion_prints_the_script_that_shtab_makes(shell: str) -> None:
    """It knows all commands and options; `python -m tools.completion` writes the files."""
    done = run("completion", shell)

    assert (done.code, done.err) == (0, "")
    assert done.out == script(shell), "run python -m tools.completion"


def test_completion_refuses_another_shell() -> None:
    """The message names those that there are."""
    done = run("completion", "tcsh")

    assert done.code == 2
    assert "must be one of bash, zsh, fish, not 'tcsh'" in done.err


@pytest.mark.parametrize(("line", "expected"), _CASES)
def test_bash_completes(line: str, expected: list[str], tmp_path: Path) -> None:
    """The function that the script registers is called as bash calls it."""
    program = f"""
        source /dev/stdin
        function=$(complete -p leadership | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_LINE={line!r} COMP_POINT={len(line)}
        COMP_WORDS=({line}{'""' if line.endswith(" ") else ""})
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        $function leadership "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    answer = _output(["bash", "--norc", "-c", program], tmp_path, given=script("bash"))

    assert _chosen(answer, line, expected) == expected


@pytest.mark.parametrize("shell", ["fish"])
def test_fish_completes(shell: str, tmp_path: Path) -> None:
    """`complete -C` asks for the completions of a line."""
    fish = found(shell).paths
    loaded = {"LD_LIBRARY_PATH": fish.get("libraries", "")}
    # Where it is unpacked, and not installed, it does not find its own functions.
    functions = Path(fish["fish"]).parents[1] / "share/fish/functions"
    for line, expected in _CASES:
        program = f"set -p fish_function_path {functions}; source; complete -C {line!r}"
        answer = _output([fish["fish"], "-N", "-c", program], tmp_path, loaded, script("fish"))
        words = "\n".join(each.partition("\t")[0] for each in answer.splitlines())
        assert _chosen(words, line, expected) == expected, line


@pytest.mark.parametrize("shell", ["zsh"])
def test_zsh_completes(shell: str, tmp_path: Path) -> None:
    """It runs on a terminal, where a key asks for the completions of a line."""
    zsh = found(shell).paths
    tmp_path.joinpath("_leadership").write_text(script("zsh"))
    functions = zsh.get("functions")
    folders = [str(tmp_path), *map(str, _folders(functions))]
    setup = [f"module_path=({zsh['modules']})"] if "modules" in zsh else []
    setup += [f"fpath=({' '.join(folders)})"] if functions else [f"fpath=({tmp_path} $fpath)"]
    setup += [
        "autoload -Uz compinit && compinit -u -D",
        "unsetopt automenu autolist beep; setopt listambiguous; LISTMAX=1000",
        # All matches in one line, with marks around them, in place of a menu.
        'show() { local -a seen; compadd() { builtin compadd -O seen "$@"; found+=($seen) };',
        'found=(); _main_complete; print -r -- "<<${(j: :)found}>>" >>' + str(tmp_path / "out"),
        "unfunction compadd }",
        "zle -C show complete-word show; bindkey '^T' show",
    ]
    with _Terminal([zsh["zsh"], "-f", "-i"], tmp_path) as terminal:
        for line in setup:
            terminal.type(line + "\n")
        for number, (line, expected) in enumerate(_CASES, 1):
            terminal.type("\x15" + line + "\x14")  # Ctrl-U empties the line
            answers = terminal.wait_for(tmp_path / "out", ">>", number)
            words = "\n".join(answers.split("<<")[number].partition(">>")[0].split())
            assert _chosen(words, line, expected) == expected, (line, answers, terminal.said)


def _folders(functions: str | None) -> list[Path]:
    root = Path(functions) if functions else None
    return [root, *(one for one in root.rglob("*") if one.is_dir())] if root else []


def _chosen(answer: str, line: str, expected: list[str]) -> list[str]:
    """The completions; an empty word may be completed by options, too, which do not count."""
    options = bool(expected) and expected[0].startswith("-")
    words = {word.strip() for word in answer.splitlines() if word.strip()}
    typed = line.rpartition(" ")[2]
    return sorted(
        word for word in words if word.startswith(typed) and word.startswith("-") == options
    )


def _output(
    command: list[str], folder: Path, extra: dict[str, str] | None = None, given: str = ""
) -> str:
    done = subprocess.run(
        command,
        input=given,
        env={**os.environ, **(extra or {}), "HOME": str(folder), "TERM": "dumb"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=at_most(20),
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


class _Terminal:
    """A shell on a terminal; ended when it is left."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.said = b""
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, start_new_session=True,
            env={**os.environ, "HOME": str(folder), "TERM": "dumb"},
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, file: Path, end: str, times: int) -> str:
        """Return the content of the file once it has `end` so often; reads the terminal meanwhile."""
        until = time.monotonic() + at_most(10)
        while (content := file.read_text() if file.exists() else "").count(end) < times:
            assert time.monotonic() < until, self.said
            if select.select([self._ours], [], [], 0.02)[0]:
                self.said += os.read(self._ours, 65536)
        return content
