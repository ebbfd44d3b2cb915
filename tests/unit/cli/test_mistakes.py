"""Usage errors of the command: each has an exit code and one line that names the problem."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.support.waiting import at_most
from tests.unit.cli.command import Done, run

pytestmark = pytest.mark.timeout(240)  # the first test of a worker runs all commands

SECRET = "hunter2"

URLS = [
    ("", "it is empty"),
    ("nonsense", "it has no ://"),
    ("://nonsense", "not well formed"),
    ("sqlite:///file.db#part", "%23"),
    (f"consul://:a@{SECRET}@host", "%40"),
    (f"nosuch://:{SECRET}@host", "no installed plugin serves nosuch://"),
    ("sqlit:///file.db", "did you mean sqlite://?"),
    (f"etcd://user:{SECRET}@host?nosuch=1", "no option 'nosuch'"),
    ("zk://host?nosuch=1", "no option 'nosuch'"),
    ("zookeeper://host:2181:3", "not host[:port]"),
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
    ("consul://host:http", "not host[:port]"),
    ("consul://one,,two", "not host[:port]"),
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

TTLS = [
    "x",
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "1e300",
    "1,5",
    "5 s",
    "5d",
    "s",
    "1m30",
    "-5s",
    "0ms",
    "1e3s",
]

USAGE: list[tuple[list[str], str]] = [
    ([], "no command given"),
    (["--json"], "options come after the command"),
    (["elct"], "did you mean elect?"),
    (["xyzzy"], "there is no command 'xyzzy'"),
    ([f"consul://:{SECRET}@host"], "the command comes first"),
    (["elect"], "the URL is missing"),
    (["elect", "memory://"], "KEY and VALUE are missing"),
    (["elect", "memory://", "key"], "VALUE is missing"),
    (["elect", "memory://", "key", "a", "value"], "too many words"),
    (["elect", "key", "value"], "set LEADERSHIP_URL"),
    (["elect", "key", "memory://", "value"], "the order is: leadership elect URL KEY"),
    (["elect", "memory://", "key", "-node"], "after --"),
    (["elect", "memory://", "key", "value", "--nosuch"], "unknown option '--nosuch'"),
    (["elect", "memory://", "key", "value", f"--url=x://:{SECRET}@h"], "unknown option '--url'"),
    (["elect", "memory://", "key", "value", "--tt", "3"], "unknown option '--tt'"),
    (["elect", "memory://", "key", "value", "--ttl"], "--ttl: expected one argument"),
    (["elect", "memory://", "key", "value", f"--json=x://:{SECRET}@h"], "--json"),
    (["elect", "memory://", "key", "value", "--margin", "0"], "the margin must be"),
    (["elect", "memory://", "key", "value", "--margin", "nan"], "the margin must be"),
    (["elect", "sqlite:///x.db", "key", "value", "--margin", "6"], "does not fit a ttl of 15 s"),
    (["elect", "sqlite:///x.db", "key", "v" * 65537], "the value has 65537 bytes"),
    (["elect", "memory://", "key", "value"], "memory:// exists in one process only"),
    (["follow", "memory://name", "key"], "memory:// exists in one process only"),
    (["leader", "memory://", "key"], "memory:// exists in one process only"),
    (["check", "memory://"], "memory:// exists in one process only"),
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
    (["demo", "memory://"], "memory:// exists in one process only"),
    (["demo", "nonsense"], "it has no ://"),
    (["demo", "memory://", "key"], "too many words"),
]


@dataclass(frozen=True)
class Mistake:
    """Words of a command line, and the text that the error must contain."""

    words: tuple[str | bytes, ...]
    problem: str
    code: int = 2
    environment: str = ""

    def __str__(self) -> str:
        return f"{self.words!r}"[:60]


# Nothing listens at that address: the error is found before any request.
NOBODY = f"consul://:{SECRET}@127.0.0.1:1"
NOWHERE = f"consul://:{SECRET}@nohost.invalid"

MISTAKES = [
    *[Mistake(("leader", url, "key"), problem) for url, problem in URLS],
    *[Mistake(("elect", NOBODY, key, "value"), problem) for key, problem in KEYS],
    *[Mistake(("elect", NOBODY, "key", "value", "--ttl", ttl), "ttl") for ttl in TTLS],
    *[Mistake(tuple(words), problem) for words, problem in USAGE],
    Mistake(("leader", "key"), "LEADERSHIP_URL is not a store URL", environment=f"x:{SECRET}"),
    *[
        Mistake((*words, "--timeout", "0.5"), problem, code=4)
        for url, problem in [(NOBODY, "refused"), (NOWHERE, "unknown host")]
        for words in [("leader", url, "key"), ("follow", url, "key"), ("explain", url)]
    ],
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Mistake, Done]:
    """The results of all commands, run several at a time."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "folder").mkdir()

    def make(mistake: Mistake) -> Done:
        extra = {"LEADERSHIP_URL": mistake.environment}
        return run(*mistake.words, cwd=folder, extra=extra)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(MISTAKES, pool.map(make, MISTAKES), strict=True))


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_usage_error_is_one_line(mistake: Mistake, outcomes: Mapping[Mistake, Done]) -> None:
    """It has an exit code and one line with the cure: no traceback, no usage, no secret."""
    done = outcomes[mistake]
    assert done.code == mistake.code, done
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    assert done.err.startswith("leadership")
    assert mistake.problem in done.err
    assert "Traceback" not in done.err
    assert SECRET not in done.err


@pytest.mark.parametrize(("url", "problem"), [(NOBODY, "refused"), (NOWHERE, "unknown host")])
def test_elect_fails_without_a_store(url: str, problem: str) -> None:
    """The campaign is on stdout, the error on stderr, and the exit code is 4."""
    done = run("elect", url, "key", "value", "--timeout", "0.5")
    assert done.code == 4, done
    assert done.err.count("\n") == 1, done.err
    assert problem in done.err
    assert SECRET not in done.err + done.out
    assert done.seconds < at_most(5.0)
