"""The rights of `docs/operations.md`: all of them are enough, and each one is needed."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator

import pytest

from leadership_core import open_store
from leadership_core.testing import WatchRecorder
from tests.conftest import RedisFactory
from tests.support.permissions import USES, Rights, Variant, check, try_all
from tests.support.servers.redis import RedisServer
from tests.support.waiting import wait_until

RIGHTS = Rights.of("Redis")
_NUMBERS = itertools.count(1)


@pytest.fixture
def server(redis_server: RedisFactory) -> RedisServer:
    return redis_server(password="root")


def url_with(server: RedisServer, lines: list[str]) -> str:
    """The URL of a new user with these rights, as the page writes them."""
    user = f"user{next(_NUMBERS)}"
    for line in lines:
        command = line.replace("worker", user, 1).replace("PASSWORD", "pw")
        assert server.ask(command).startswith("+OK"), command
    return server.url_at(server.port, user=user, password="pw")


def variants(lines: list[str]) -> Iterator[Variant]:
    """Without each command, without the keys and without the channel."""
    for word in re.findall(r"\+\w+", " ".join(lines)):
        if word != "+subscribe":
            left = [re.sub(rf"{re.escape(word)}(?!\w)", "", line) for line in lines]
            yield Variant(word, left, "a command")
    yield Variant("keys", [lines[0].replace("~{leadership}:*", ""), *lines[1:]], "the keys")
    channel = lines[0].replace("&{leadership}:changes", "")
    yield Variant("channel", [channel, *lines[1:]], "the channel")


@pytest.mark.parametrize("use", USES)
def test_listed_rights_are_enough(use: str, server: RedisServer) -> None:
    """Every use works with them, and without those on the keys the error is that of the page."""
    lines = RIGHTS.lines[use]
    (no_keys,) = [one for one in variants(lines) if one.what == "keys"]

    errors = try_all(
        use, url_with(server, lines), {"keys": url_with(server, no_keys.lines)}, server.url
    )

    assert any(text in errors["keys"] for text in RIGHTS.messages("the keys")), errors


def test_each_listed_right_is_needed(server: RedisServer) -> None:
    """Without it the first request is refused, and nothing is written."""
    lines = RIGHTS.lines["entries"]
    missing = {one.what: one for one in variants(lines)}
    urls = {name: url_with(server, one.lines) for name, one in missing.items()}

    for name, url in urls.items():
        with open_store(url) as store, pytest.raises(Exception, match="lacks a right") as caught:
            store.put("app/x", b"1")
        messages = RIGHTS.messages(missing[name].row)
        assert any(text in str(caught.value) for text in messages), (name, caught.value)
    assert server.ask("DBSIZE").startswith(":0")
    assert len(missing) > 15


def test_watch_polls_without_the_right_to_subscribe(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It warns once, and reports changes all the same."""
    lines = [line.replace("+subscribe", "") for line in RIGHTS.lines["entries"]]
    recorder = WatchRecorder()
    with caplog.at_level(logging.WARNING), open_store(url_with(server, lines)) as store:
        store.watch("app/x", recorder)
        assert recorder.last_is(None)
        entry = store.put("app/x", b"1")
        assert recorder.last_is(entry)
        (text,) = RIGHTS.messages("`subscribe`")
        wait_until(lambda: text in caplog.text, 5, "the warning")


def test_check_needs_the_listed_rights(server: RedisServer) -> None:
    """It passes with them; without, it stops at the first contact."""
    lines = RIGHTS.lines["leadership check"]

    done = check(url_with(server, lines))
    refused = check(url_with(server, lines[:1]))

    assert (done.returncode, done.stderr) == (0, ""), done
    assert refused.returncode == 4
    assert RIGHTS.messages("a command")[0] in refused.stderr
