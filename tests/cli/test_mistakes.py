"""What a user may type wrong: each gets an exit code and one line that names the problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import run

SECRET = "hunter2"

URLS = [
    ("", "it is empty"),
    ("nonsense", "it has no ://"),
    ("://nonsense", "not well formed"),
    ("sqlite:///file.db#part", "%23"),
    (f"consul://:a@{SECRET}@host", "%40"),
    (f"nosuch://:{SECRET}@host", "no installed plugin serves nosuch://"),
    ("sqlit:///file.db", "did you mean sqlite://?"),
    (f"etcd://:{SECRET}@host", "pip install 'leadership[etcd]'"),
    ("zk://host", "pip install 'leadership[zookeeper]'"),
    ("zookeeper://host", "pip install 'leadership[zookeeper]'"),
    ("sqlite://host/file.db", "has no host"),
    ("sqlite://", "needs a file"),
    ("sqlite:///", "needs a file"),
    ("sqlite:///folder", "is a folder"),
    ("sqlite:///nowhere/file.db", "there is no folder"),
    ("sqlite:///file.db?mode=ro", "no option 'mode'"),
    ("sqlite+tls:///file.db", "has no TLS"),
    ("memory://name:80", "no port"),
    ("memory://user@name", "has no users"),
    ("memory://name?size=1", "no option 'size'"),
    ("consul://host:0", "between 1 and 65535"),
    ("consul://host:99999", "between 1 and 65535"),
    ("consul://host:http", "not a host[:port]"),
    ("consul://one,,two", "not a host[:port]"),
    ("consul://host/a//b", "prefix"),
    ("consul://host/../b", "prefix"),
    (f"consul://host?tokne={SECRET}", "did you mean 'token'?"),
    ("consul://host?dc=a&dc=b", "'dc' is given twice"),
    ("consul://host?dc", "option=value"),
    ("consul://host?lock_delay=soon", "'lock_delay'"),
    ("consul://host?lock_delay=-1", "'lock_delay'"),
    (f"consul://user:{SECRET}@host", "has no users"),
    (f"consul://:{SECRET}@host?token={SECRET}", "token is given twice"),
    ("consul://host?token=", "'token'"),
    ("consul://host?ca=ca.pem", "consul+tls://"),
    ("consul+tls://host?verify=maybe", "'verify'"),
    ("consul+tls://host?ca=nowhere.pem", "nowhere.pem"),
    ("consul://host?token_file=nowhere", "nowhere"),
    (f"consul://:{SECRET}%ff@host", "not UTF-8"),
]

KEYS: list[tuple[str | bytes, str]] = [
    ("", "the key is empty"),
    ("/", "the key is empty"),
    ("a//b", "empty part"),
    (".", "'.'"),
    ("a/../b", "'..'"),
    ("a\nb", "control character"),
    ("a\x7f", "control character"),
    (b"a\xff", "lone surrogate"),
    ("k" * 513, "512 are allowed"),
    (f"consul://:{SECRET}@host", "the key is a URL"),
]

TTLS = ["x", "", "0", "-1", "nan", "inf", "1e300", "1,5", "5s"]

USAGE: list[tuple[list[str], str]] = [
    ([], "which command?"),
    (["--json"], "options go behind the command"),
    (["elct"], "did you mean elect?"),
    (["xyzzy"], "there is no command 'xyzzy'"),
    ([f"consul://:{SECRET}@host"], "the command comes first"),
    (["elect"], "the URL is missing"),
    (["elect", "memory://"], "KEY and VALUE are missing"),
    (["elect", "memory://", "key"], "VALUE is missing"),
    (["elect", "memory://", "key", "a", "value"], "too many words"),
    (["elect", "key", "value"], "set LEADERSHIP_URL"),
    (["elect", "key", "memory://", "value"], "the order is: leadership elect URL KEY"),
    (["elect", "memory://", "key", "-node"], "behind --"),
    (["elect", "memory://", "key", "value", "--nosuch"], "unknown option '--nosuch'"),
    (["elect", "memory://", "key", "value", f"--url=x://:{SECRET}@h"], "unknown option '--url'"),
    (["elect", "memory://", "key", "value", "--tt", "3"], "unknown option '--tt'"),
    (["elect", "memory://", "key", "value", "--ttl"], "--ttl: expected one argument"),
    (["elect", "memory://", "key", "value", f"--json=x://:{SECRET}@h"], "--json"),
    (["elect", "memory://", "key", "value", "--margin", "0"], "the margin must be"),
    (["elect", "memory://", "key", "value", "--margin", "nan"], "the margin must be"),
    (["elect", "memory://", "key", "value", "--margin", "6"], "does not fit a ttl of 15 s"),
    (["elect", "memory://", "key", "v" * 65537], "the value has 65537 bytes"),
    (["elect", "memory://", "key", "value", "--timeout", "0"], "the timeout must be"),
    (["follow", "memory://"], "KEY is missing"),
    (["follow", "memory://", "key", "--timeout", "inf"], "the timeout must be"),
    (["leader"], "the URL is missing"),
    (["leader", "memory://", "key", "--ttl", "3"], "unknown option '--ttl'"),
    (["stores", "memory://"], "too many words"),
    (["explain"], "the URL is missing"),
    (["explain", "memory://", "key"], "too many words"),
    (["explain", "memory://", "--ttl", "0"], "the ttl must be"),
    (["explain", "memory://", "--ttl", "3", "--margin", "2"], "does not fit"),
    (["demo", "memory://"], "memory://"),
    (["demo", "nonsense"], "it has no ://"),
    (["demo", "memory://", "key"], "too many words"),
]


def check(words: list[str | bytes], code: int, problem: str, cwd: Path, **extra: str) -> None:
    (cwd / "folder").mkdir(exist_ok=True)
    done = run(*words, cwd=cwd, extra=extra)
    assert done.code == code, done
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    assert done.err.startswith("leadership")
    assert problem in done.err
    assert "Traceback" not in done.err
    assert SECRET not in done.err


@pytest.mark.parametrize(("url", "problem"), URLS)
def test_a_wrong_url_is_named(url: str, problem: str, tmp_path: Path) -> None:
    """Exit code 2, one line, no secret."""
    check(["leader", url, "key"], 2, problem, tmp_path)


@pytest.mark.parametrize(("key", "problem"), KEYS)
def test_a_wrong_key_is_named(key: str | bytes, problem: str, tmp_path: Path) -> None:
    """Before anybody is contacted: nothing listens at that address."""
    url = f"consul://:{SECRET}@127.0.0.1:1"
    check(["elect", url, key, "value"], 2, problem, tmp_path)


@pytest.mark.parametrize("ttl", TTLS)
def test_a_wrong_ttl_is_named(ttl: str, tmp_path: Path) -> None:
    """Before anybody is contacted, with the ttl that was given."""
    check(["elect", "consul://127.0.0.1:1", "key", "value", "--ttl", ttl], 2, "ttl", tmp_path)


@pytest.mark.parametrize(("words", "problem"), USAGE)
def test_wrong_usage_is_named(words: list[str], problem: str, tmp_path: Path) -> None:
    """Exit code 2, and one line instead of a page of usage."""
    check([*words], 2, problem, tmp_path)


def test_a_wrong_url_in_the_environment_is_named(tmp_path: Path) -> None:
    """The user has not typed it, so the line says where it comes from."""
    check(["leader", "key"], 2, "LEADERSHIP_URL", tmp_path, LEADERSHIP_URL=f"x:{SECRET}")


@pytest.mark.parametrize("words", [["leader"], ["follow"], ["elect", "value"], ["explain"]])
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"consul://:{SECRET}@127.0.0.1:1", "refused"),
        (f"consul://:{SECRET}@nohost.invalid", "unknown host"),
    ],
)
def test_a_store_that_is_not_there_is_named(
    words: list[str], url: str, problem: str, tmp_path: Path
) -> None:
    """Exit code 4 and one line, whatever the command."""
    command, *value = words
    key = [] if command == "explain" else ["key"]
    done = run(command, url, *key, *value, "--timeout", "0.5", cwd=tmp_path)
    assert done.code == 4, done
    assert done.err.count("\n") == 1, done.err
    assert problem in done.err
    assert SECRET not in done.err + done.out
    assert done.seconds < 5.0
