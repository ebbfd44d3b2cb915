"""Random command lines: an exit code from 0 to 4, one line, no traceback, no secret."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from leadership_core.cli.main import main
from tests.fuzz.oracles import SECRET, examples
from tests.fuzz.test_urls import urls

pytestmark = pytest.mark.slow

COMMANDS = ["elect", "follow", "leader", "stores", "explain", "check", "demo"]
QUICK = ["elect", "follow", "leader", "stores", "explain"]
NUMBERS = [
    "1", "0.5", "0", "-1", "nan", "inf", "-inf", "1e9", "1e-9", "1e999", "", "x", "1,5", "5s", "٣", "1_0",
    "9" * 500, " 1", "0x10", "True", "\ud800",
]  # fmt: skip
KEYS = [
    "key",
    "/a/b/",
    "",
    "//",
    "a//b",
    "..",
    "k" * 600,
    "é",
    "\ud800",
    "a\nb",
    "😀",
    "-key",
    f"consul://:{SECRET}@h",
]
VALUES = ["me", "", "v" * 70_000, "\ud800", "\udcff", "a\nb\0", "--json"]

# Ports without a listener, and stores of one process: each command ends soon.
UNUSED = [
    f"consul://:{SECRET}@127.0.0.1:1",
    f"zk://127.0.0.1:1?x={SECRET}",
    "memory://fuzz",
    "memory://",
    "sqlite://",
]

options = st.one_of(
    st.tuples(
        st.sampled_from(["--ttl", "--margin", "--timeout", "--seconds"]), st.sampled_from(NUMBERS)
    ).flatmap(lambda pair: st.sampled_from([list(pair), [f"{pair[0]}={pair[1]}"], [pair[0]]])),
    st.sampled_from(
        [["--json"], ["-v"], ["--verbose"], ["--"], ["-x"], ["--nosuch"], ["--ttl="], ["-vv"], [""],
         [f"--url=consul://:{SECRET}@h"], [f"--json=consul://:{SECRET}@h"], ["-h"], ["--version"], ["@x"]]
    ),
)  # fmt: skip
words = st.one_of(
    urls(),
    st.sampled_from(UNUSED),
    st.sampled_from(KEYS),
    st.sampled_from(VALUES),
    st.text(max_size=10),
)


@st.composite
def sensible(draw: st.DrawFn) -> list[str]:
    """A command with about the right number of words, some of them wrong, and any options."""
    command = draw(st.sampled_from(QUICK))
    line = [draw(st.sampled_from(UNUSED) | urls())]
    if command in {"elect", "follow", "leader"}:
        line.append(draw(st.sampled_from(KEYS)))
    if command == "elect":
        line.append(draw(st.sampled_from(VALUES)))
    for option in draw(st.lists(options, max_size=3)):
        at = draw(st.integers(0, len(line)))
        line[at:at] = option
    return [command, *line]


wild = st.lists(words | options.map(lambda pair: pair[0]), max_size=5).map(
    lambda line: line if not line or line[0] not in {"check", "demo"} else ["leader", *line[1:]]
)


class Unread(io.StringIO):
    """An output that breaks after some lines, which ends a command that runs on."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._lines = lines

    def flush(self) -> None:
        if self.getvalue().count("\n") >= self._lines:
            raise BrokenPipeError


@pytest.fixture(autouse=True)
def _untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore what a command changes in its process."""
    monkeypatch.delenv("LEADERSHIP_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    kept = os.dup(1)
    root, ours, hook = logging.getLogger(), logging.getLogger("leadership"), threading.excepthook
    handlers, level, our_level = list(root.handlers), root.level, ours.level
    with warnings.catch_warnings():
        yield
    logging.captureWarnings(capture=False)
    root.handlers, threading.excepthook = handlers, hook
    root.setLevel(level)
    ours.setLevel(our_level)
    os.dup2(kept, 1)
    os.close(kept)


def _run(line: list[str]) -> tuple[int, str, str]:
    out, err = Unread(1 if line and line[0] in {"elect", "follow"} else 10**6), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        # As in a process of its own, without a level or a handler.
        logging.getLogger().handlers = []
        logging.getLogger("leadership").setLevel(logging.NOTSET)
        try:
            code = main(line)
        except SystemExit as over:
            code = int(over.code or 0)
    return code, out.getvalue(), err.getvalue()


def _check(line: list[str]) -> None:
    if "--timeout" not in line:
        # In front, so that a wrong one later in the line replaces it.
        line = [*line[:1], "--timeout", "0.05", *line[1:]] if line else line
    code, out, err = _run(line)
    assert code in {0, 1, 2, 3, 4}, err
    assert "internal error" not in err, err
    assert SECRET not in out.replace("x=" + SECRET, ""), out
    verbose = any(word.startswith(("-v", "--verbose")) for word in line)
    if verbose:
        return  # which prints tracebacks
    assert SECRET not in err or _typed_as_no_secret(line), err
    assert "Traceback" not in err, err
    assert len(err) < 1000, err
    if code in {1, 2, 4}:
        assert err.count("\n") == 1, err
        assert err.startswith("leadership"), err
        assert err.isprintable() or err.rstrip("\n").isprintable(), err


def _typed_as_no_secret(line: list[str]) -> bool:
    """Whether the secret was in a word that is no URL, or in a part that is not secret."""
    from leadership_core import StoreURL
    from leadership_core.errors import URLError
    from tests.fuzz.test_urls import _may_show

    for word in line:
        if SECRET not in word:
            continue
        if "://" not in word:
            return True
        try:
            if _may_show(StoreURL.parse(word)):
                return True
        except URLError:
            pass
    return False


@given(sensible())
@example(["elect", f"consul://:{SECRET}", "key", "me"])
@example(["elect", "memory://", "key", "me", "--ttl", "9" * 500])
@example(["leader", "memory://\ud800", "key"])
@example(["elect", "memory://", "key", "me", "--margin", "v" * 70_000])
@example(["elect", "memory://", "key", "me", "-" + "v" * 70_000])
@examples(300)
def test_sensible_command_ends_in_order(line: list[str]) -> None:
    """It works, or prints the reason in one line."""
    _check(line)


@pytest.mark.parametrize(
    "words", [["elect", "key", "me", "--margin", "1e9"], ["follow", "//"]], ids=lambda one: one[0]
)
def test_invalid_argument_leaves_no_open_store(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was opened before the argument is checked, and must be closed."""
    caught: list[object] = []  # a finalizer cannot raise its warning
    monkeypatch.setattr(sys, "unraisablehook", lambda args: caught.append(args.exc_value))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        _check([words[0], f"consul://:{SECRET}@127.0.0.1:1", *words[1:]])
        gc.collect()

    assert caught == []


@given(st.sampled_from([*QUICK, "", "elct", "-v", "\ud800"]), wild)
@examples(300)
def test_any_words_end_in_order(command: str, line: list[str]) -> None:
    """Also with words that make no sense."""
    _check([command, *line])


@given(st.sampled_from(["check", "demo"]), st.sampled_from(NUMBERS[2:]), st.sampled_from(KEYS))
@examples(40)
def test_long_commands_refuse_wrong_arguments_at_once(command: str, number: str, key: str) -> None:
    """Nothing is started with a word too many, or an invalid number."""
    _check([command, "memory://", key, "too many", f"--ttl={number}"])


@given(urls())
@examples(150)
def test_wrong_url_in_the_environment_shows_no_secret(url: str) -> None:
    """As on the command line."""
    if "\0" in url or url.startswith(("sqlite", "memory")):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "LEADERSHIP_URL", url.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        )
        code, out, err = _run(["leader", "key", "--timeout", "0.05"])
    assert code in {2, 4}, (out, err)
    assert err.count("\n") == 1, err
    assert SECRET not in err or _typed_as_no_secret([url]), err
    assert sys.stdout is not None
