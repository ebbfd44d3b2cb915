"""Options in the URL, and secrets that must not be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import leadership_etcd
from leadership_core.backend.url import StoreURL
from leadership_core.errors import ConfigurationError, URLError
from leadership_etcd.options import Options
from leadership_etcd.store import EtcdStore
from tests.support.servers.certificates import Certificates
from tests.support.servers.ports import free_port


def _options(url: str) -> Options:
    return Options.read(StoreURL.parse(url))


def test_opening_contacts_no_server_and_ignores_other_schemes() -> None:
    """The URL of another plugin is left to that plugin."""
    store = leadership_etcd.leadership_open_store(
        StoreURL.parse(f"etcd://127.0.0.1:{free_port()}/some/prefix/")
    )

    assert isinstance(store, EtcdStore)
    assert store.prefix == "some/prefix"
    assert leadership_etcd.leadership_open_store(StoreURL.parse("consul://h")) is None
    store.close()
    store.close()


def _hosts(url: str) -> tuple[str, ...]:
    return tuple(map(str, _options(url).hosts))


def test_hosts_and_default_port() -> None:
    """The port is etcd's unless it is given, the host is localhost; IPv6 keeps its brackets."""
    assert _hosts("etcd://") == ("localhost:2379",)
    assert _hosts("etcd://h1,h2:1,h1:2379") == ("h1:2379", "h2:1")
    assert _hosts("etcd+tls://h1,[::1]:1") == ("h1:2379", "[::1]:1")
    plain = _options("etcd://h")
    assert (plain.user, plain.password, plain.tls, plain.prefix) == (None, None, None, "")


def test_user_and_password_are_decoded_and_hidden() -> None:
    """They are percent-decoded, and not shown."""
    options = _options("etcd://ann:p%40ss%2F@h")

    assert options.password is not None
    assert (options.user, options.password.reveal()) == ("ann", "p@ss/")
    assert "p@ss" not in repr(options)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("etcd://h?timeout=1", "no option 'timeout'"),
        ("etcd://h?ca=/x", "needs TLS"),
        ("etcd+tls://h?key=/x", "'cert'"),
        ("etcd+tls://h?verify=no", "neither true nor false"),
        ("etcd+tls://h?cert=", "empty"),
        ("etcd://ann@h", "password with the user"),
        ("etcd://ann:@h", "password with the user"),
        ("etcd://:hush@h", "user with the password"),
        ("etcd://h/a//b", "prefix"),
    ],
)
def test_invalid_url_is_rejected(url: str, complaint: str) -> None:
    """The error is raised at once, and shows no secret."""
    with pytest.raises(URLError, match=complaint) as caught:
        _options(url)

    assert "hush" not in str(caught.value)


def test_unusable_tls_files_are_rejected(tmp_path: Path) -> None:
    """They are missing, not PEM, or a key of another certificate."""
    files, other = Certificates.make(tmp_path / "a"), Certificates.make(tmp_path / "b")
    junk = tmp_path / "junk"
    junk.write_text("junk")
    for query in (
        "ca=/no/such/file",
        f"ca={junk}",
        f"ca={files.ca}&cert={files.client_cert}&key=/no/such/file",
        f"ca={files.ca}&cert={files.client_cert}&key={other.client_key}",
    ):
        with pytest.raises(ConfigurationError, match="TLS file"):
            _options(f"etcd+tls://h?{query}")
    assert _options(f"etcd+tls://h?ca={files.ca}").tls is not None
