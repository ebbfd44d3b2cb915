"""The options of a URL, and the secrecy of the token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import leadership_consul
from leadership_consul.options import Options, format_go_duration, parse_go_duration
from leadership_consul.store import ConsulStore
from leadership_core.backend.url import StoreURL
from leadership_core.errors import ConfigurationError, StoreUnavailable, URLError
from tests.integration.consul.conftest import Opener
from tests.integration.consul.tools import raw
from tests.support.servers.consul import Consul
from tests.support.servers.ports import free_port

HEADER = "X-Consul-Token"


def _options(url: str) -> Options:
    return Options.read(StoreURL.parse(url))


@pytest.fixture(autouse=True)
def no_token_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSUL_HTTP_TOKEN", raising=False)


def test_open_makes_no_request_and_ignores_other_schemes() -> None:
    """No server listens at the URL; the URL of another plugin is left to that."""
    store = leadership_consul.leadership_open_store(
        StoreURL.parse(f"consul://127.0.0.1:{free_port()}/some/prefix/")
    )

    assert isinstance(store, ConsulStore)
    assert store.prefix == "some/prefix"
    assert leadership_consul.leadership_open_store(StoreURL.parse("etcd://h")) is None
    store.close()


def test_hosts_and_defaults() -> None:
    """The default is localhost with Consul's port; IPv6 addresses keep their brackets."""
    assert [str(host) for host in _options("consul://").hosts] == ["localhost:8500"]
    hosts = _options("consul+tls://h1,[::1]:1,h1:8500").hosts
    assert [str(host) for host in hosts] == ["h1:8500", "[::1]:1"]
    assert _options("consul://h").lock_delay == 0
    assert _options("consul://h?lock_delay=60&dc=east").dc == "east"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("consul://h?lock_delay=61", "60"),
        ("consul://h?lock_delay=-1", "seconds"),
        ("consul://h?lokc_delay=1", "did you mean 'lock_delay'"),
        ("consul://h?ca=/x", "needs TLS"),
        ("consul+tls://h?key=/x", "'cert'"),
        ("consul://user@h", "no users"),
        ("consul://user:hush@h", "no users"),
        ("consul://:hush@h?token=hush", "password place and in token="),
        ("consul://:hush@h?token_file=/x", "password place and in token_file="),
        ("consul://h?token=hush&token_file=/x", "token= and in token_file="),
    ],
)
def test_invalid_url_is_refused(url: str, complaint: str) -> None:
    """The error names the part that is wrong, and shows no secret."""
    with pytest.raises(URLError, match=complaint) as caught:
        _options(url)

    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["consul://:hush@h", "consul://h?token=hush"])
def test_token_of_the_url_takes_precedence_over_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is used only where the URL has no token."""
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "of the shell")

    assert _options(url).token.headers() == {HEADER: "hush"}
    assert _options("consul://h").token.headers() == {HEADER: "of the shell"}


def test_no_header_without_a_token() -> None:
    """No header is sent."""
    assert _options("consul://h").token.headers() == {}


def test_token_file_is_read_again_after_a_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A replaced file counts at once; one that is missing for a moment does not."""
    file = tmp_path / "token"
    file.write_text("first\n")
    token = _options(f"consul://h?token_file={file}").token
    assert token.headers() == {HEADER: "first"}

    (tmp_path / "new").write_text("second")
    (tmp_path / "new").replace(file)
    assert token.headers() == {HEADER: "second"}
    file.unlink()
    assert token.headers() == {HEADER: "second"}

    assert "token_file" in caplog.text
    assert "second" not in caplog.text


@pytest.mark.parametrize("content", [None, "", " \n", "hu\nsh", "hush\u00e9", b"hush\xff"])
def test_unusable_token_file_is_refused(tmp_path: Path, content: str | bytes | None) -> None:
    """It is missing, empty, or has characters that no header takes; the error hides its content."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ConfigurationError) as caught:
        _options(f"consul://h?token_file={file}")

    assert "hu" not in str(caught.value).replace(str(file), "")


@pytest.mark.parametrize("option", ["ca", "cert"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_unusable_tls_file_is_refused(tmp_path: Path, option: str, content: str | None) -> None:
    """The error names the file, when the store is opened."""
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(ConfigurationError, match=r"file\.pem"):
        _options(f"consul+tls://h?{option}={file}")


def test_token_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """No repr, error, cause or log record contains it."""
    caplog.set_level("DEBUG")
    url = StoreURL.parse(f"consul://:hush@127.0.0.1:{free_port()}")
    store, options = ConsulStore(url), Options.read(url)
    with pytest.raises(StoreUnavailable) as caught:
        store.get("key")
    store.close()

    shown = [repr(store), repr(options), repr(options.token), caplog.text]
    error: BaseException | None = caught.value
    while error is not None:
        shown += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    assert "hush" not in "".join(shown)
    assert "***" in repr(store)


@pytest.mark.parametrize(
    ("seconds", "text"), [(15, "15s"), (7.5, "7.5s"), (0.001, "0.001s"), (90, "90s")]
)
def test_format_go_duration_is_parsed_back(seconds: float, text: str) -> None:
    """A duration is written as Go reads it, and parsed back."""
    assert format_go_duration(seconds) == text
    assert parse_go_duration(text) == seconds


def test_parse_go_duration_of_a_server() -> None:
    """Durations as a server may write them; other texts are refused."""
    assert parse_go_duration("24h0m0s") == 86400
    assert parse_go_duration("1m30.5s") == 90.5
    assert parse_go_duration("250ms") == 0.25
    for text in ("", "15", "15s ", "s", "-1s"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_go_duration(text)


def test_every_request_goes_to_the_datacenter_of_the_url(consul: Consul, opened: Opener) -> None:
    """An unknown datacenter is an error, and nothing is done in the agent's own."""
    store = opened(f"{consul.url}?dc=elsewhere")
    works: list[Callable[[], object]] = [
        lambda: store.put("dc-test", b"1"),
        lambda: store.get("dc-test"),
        lambda: store.open_session(10),
        lambda: store.election("dc-test").leader(),
    ]

    for work in works:
        with pytest.raises(StoreUnavailable, match="datacenter"):
            work()

    assert raw(consul, "dc-test") is None
