"""Options of the URL, and errors of connecting."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from leadership_core import open_store
from leadership_core.backend.protocols import Capability
from leadership_core.backend.url import StoreURL
from leadership_core.errors import ConfigurationError, StoreRefused, StoreUnavailable, URLError
from leadership_zookeeper.options import Options
from leadership_zookeeper.recipe import CURATOR_LATCH, CURATOR_SELECTOR, KAZOO
from leadership_zookeeper.store import ZooKeeperStore
from tests.integration.zookeeper.conftest import Opener
from tests.support.servers.ports import free_port
from tests.support.servers.zookeeper import ZooKeeper


def _read(url: str) -> Options:
    return Options.read(StoreURL.parse(url))


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("zk://", ["localhost:2181"]),
        ("zk://a", ["a:2181"]),
        ("zk://a:1,b,[::1]:2", ["a:1", "b:2181", "[::1]:2"]),
        ("zookeeper://a,a:2181,b", ["a:2181", "b:2181"]),
    ],
)
def test_hosts_have_default_port(url: str, hosts: list[str]) -> None:
    """Unless the URL has another port; duplicate addresses count once."""
    assert [str(host) for host in _read(url).hosts] == hosts


def test_defaults_are_those_of_zookeeper() -> None:
    """A tick of two seconds, no user, no TLS, kazoo's recipe."""
    options = _read("zk://a/some/chroot")

    assert options.recipe is KAZOO
    assert _read("zk://a?recipe=kazoo").recipe is KAZOO
    assert _read("zk://a?recipe=curator-latch").recipe is CURATOR_LATCH
    assert _read("zk://a?recipe=curator-selector").recipe is CURATOR_SELECTOR

    assert (options.tick, options.login, options.tls) == (2.0, None, None)
    assert options.prefix == "some/chroot"
    assert options.acl[0].id.scheme == "world"


def test_user_gets_all_permissions_of_its_nodes() -> None:
    """User and password are percent-decoded, and not shown."""
    options = _read("zk://frank:p%40ss@a")

    assert options.login is not None
    assert options.login.digest() == "frank:p@ss"
    assert options.acl[0].id.scheme == "auth"
    assert "p@ss" not in repr(options)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("zk://a?tick=0", "tick"),
        ("zk://a?tick=soon", "tick"),
        ("zk://a?tick=61", "tick"),
        ("zk://a?timeout=4", "tick"),
        ("zk://a?recipe=curator", "kazoo, curator-latch, curator-selector"),
        ("zk://a?ca=x", "zk\\+tls"),
        ("zk://frank@a", "password"),
        ("zk://:secret@a", "user"),
        ("zk://fr%3Aank:secret@a", "colon"),
        ("zk+tls://a?key=x", "cert"),
        ("zk+tls://a?verify=maybe", "verify"),
    ],
)
def test_invalid_url_is_refused(url: str, says: str) -> None:
    """The message names the cause, and no password."""
    with pytest.raises(URLError, match=says) as caught:
        _read(url)

    assert "secret" not in str(caught.value)


def test_tls_files_are_read_when_store_is_opened(tmp_path: Path) -> None:
    """An unusable file is an error before the first connection."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")

    for name in (file, tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match="TLS file"):
            _read(f"zk+tls://a?ca={name}")


def test_open_store_with_either_scheme_contacts_no_server() -> None:
    """It has all capabilities but one, and a margin of two thirds of a tick."""
    for scheme in ("zk", "zookeeper"):
        with open_store(f"{scheme}://nowhere.invalid:1/x?tick=4") as handle:
            assert handle.capabilities == set(Capability) - {Capability.BOUND_COMPARISONS}
            assert handle.expires_within(10) == 14
    store = ZooKeeperStore(StoreURL.parse("zk://frank:secret@nowhere.invalid?tick=3"))
    assert store.least_margin == 2.0
    assert "secret" not in repr(store)


def test_granted_ttl_is_limited_by_server(shared_zookeeper: ZooKeeper, opened: Opener) -> None:
    """The limits are 2 and 20 ticks; each renewal returns the granted ttl."""
    store = opened(shared_zookeeper.url)
    for asked, granted in ((0.2, 2), (3.0, 6), (60.0, 20)):
        session = store.open_session(asked)
        assert session.ttl == session.renew() == granted * shared_zookeeper.tick
        session.close()


def test_open_session_rejects_invalid_ttl(store: ZooKeeperStore) -> None:
    """ZooKeeper itself would grant its default."""
    for ttl in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigurationError):
            store.open_session(ttl)


def test_unknown_host_is_refused_and_stopped_server_is_unavailable(opened: Opener) -> None:
    """Only the first needs an operator; both messages name the address."""
    with pytest.raises(StoreRefused, match=r"nowhere\.invalid:2181: unknown host"):
        opened("zk://nowhere.invalid").get("a")
    port = free_port()
    with pytest.raises(StoreUnavailable, match=f"{port}.*is a server running there") as caught:
        opened(f"zk://127.0.0.1:{port}").open_session(4)
    assert not isinstance(caught.value, StoreRefused)


def test_one_reachable_server_suffices(shared_zookeeper: ZooKeeper, opened: Opener) -> None:
    """Unknown names and stopped servers are skipped."""
    address = f"127.0.0.1:{shared_zookeeper.port}"
    store = opened(f"zk://nowhere.invalid,127.0.0.1:{free_port()},{address}?tick=0.5")

    assert store.get("missing") is None
    store.open_session(4).close()


def test_silent_server_is_unavailable(opened: Opener) -> None:
    """The server accepts the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        store = opened(f"zk://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.get("a")


def test_logs_contain_no_secret_and_no_warning(
    shared_zookeeper: ZooKeeper, opened: Opener, caplog: pytest.LogCaptureFixture, unique_key: str
) -> None:
    """Even at the lowest level."""
    with caplog.at_level(1):
        url = shared_zookeeper.url_at(shared_zookeeper.port, user="frank", password="p4ssw0rd")
        store = opened(url)
        session = store.open_session(4)
        store.election(unique_key).enter(session, b"Frank")
        shared_zookeeper.expire(session.number)
        with pytest.raises(Exception, match="session"):
            session.renew()
        password = session._password.hex()
        store.close()

    assert caplog.records
    assert "p4ssw0rd" not in caplog.text
    assert password not in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
