"""Warnings about stores that are opened in an unsafe way: one each, and none about safe ones."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from leadership_core import open_store
from leadership_core.backend.security_warnings import is_loopback

_PLAIN = {"consul": "consul://:hush@{}", "etcd": "etcd://ann:hush@{}", "zk": "zk://ann:hush@{}"}


def _warnings(url: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    caplog.set_level(logging.WARNING)
    open_store(url).close()
    found = [record.getMessage() for record in caplog.records]
    assert not any("hush" in one for one in found)
    return found


@pytest.mark.parametrize("scheme", _PLAIN)
def test_warning_about_a_secret_in_plain_text(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There is none on loopback, with TLS, or without a secret."""
    url = _PLAIN[scheme]
    (only,) = _warnings(url.format("h1,127.0.0.1"), caplog)
    assert "in plain text" in only
    assert f"{scheme}+tls://" in only
    for safe in (
        url.format("localhost,127.0.0.1,[::1]"),
        url.replace("://", "+tls://").format("h1"),
        f"{scheme}://h1",
    ):
        assert _warnings(safe, caplog) == []


@pytest.mark.parametrize("scheme", _PLAIN)
def test_warning_about_an_unchecked_certificate(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, when the store is opened."""
    (only,) = _warnings(f"{scheme}+tls://h1?verify=false", caplog)
    assert "verify=false" in only
    assert "ca=" in only


@pytest.mark.parametrize("scheme", _PLAIN)
def test_warning_about_a_writable_secret_file(
    scheme: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file or its folder is writable by others; a sticky folder is safe."""
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    file = folder / "secret"
    file.write_text("hush")
    file.chmod(0o600)
    user, option = ("", "token_file") if scheme == "consul" else ("ann@", "password_file")
    url = f"{scheme}+tls://{user}h1?{option}={file}"
    assert _warnings(url, caplog) == []

    file.chmod(0o666)
    (only,) = _warnings(url, caplog)
    assert f"the {option} {file}" in only
    file.chmod(0o644)
    for mode, count in ((0o777, 1), (0o1777, 0)):
        folder.chmod(mode)
        assert len(_warnings(url, caplog)) == count
    folder.chmod(0o700)


def test_warning_about_a_replaceable_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The path, or a link on it, is in a folder like /tmp, where others can plant a link."""
    folder, link = tmp_path / "open", tmp_path / "link.db"
    folder.mkdir()
    assert _warnings(f"sqlite:///{tmp_path}/a.db", caplog) == []
    link.symlink_to(folder / "b.db")
    for mode in (0o777, 0o1777):
        folder.chmod(mode)
        for path in (folder / "b.db", link):
            (only,) = _warnings(f"sqlite:///{path}", caplog)
            assert str(folder) in only


@pytest.mark.parametrize("name", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost."])
def test_loopback_host_is_recognized(name: str) -> None:
    """A longer name that contains it is no loopback host."""
    assert is_loopback(name)
    assert not is_loopback(f"x{name}x")
