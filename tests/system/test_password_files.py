"""Password files that are read again after a change; and keys that are not UTF-8."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from leadership_core import open_store
from leadership_core.errors import ConfigurationError, StoreRefused, URLError
from tests.conftest import EtcdFactory
from tests.support.servers.consul import Consul
from tests.support.servers.etcd import Etcd
from tests.support.servers.zookeeper import ZooKeeper
from tests.system.test_names import _soon_writes


def test_changed_password_file_is_used_on_etcd(etcd_server: EtcdFactory, tmp_path: Path) -> None:
    """The same store requests its next token with the new password."""
    server = etcd_server(auth=True, auth_token_ttl=1)
    server.cli("user", "add", "ann:first")
    server.cli("user", "grant-role", "ann", "root")
    file = tmp_path / "password"
    file.write_text("wrong\n")
    with open_store(f"etcd://ann@127.0.0.1:{server.port}?password_file={file}") as store:
        with pytest.raises(StoreRefused, match="does not accept the user"):
            store.put("k", b"1")
        file.write_text("first\n")
        store.put("k", b"1")
        server.cli("user", "delete", "ann")
        server.cli("user", "add", "ann:second")
        server.cli("user", "grant-role", "ann", "root")
        file.write_text("second\n")
        _soon_writes(store)


def test_changed_password_file_is_used_on_zookeeper(
    shared_zookeeper: ZooKeeper, unique_key: str, tmp_path: Path
) -> None:
    """An open connection has the old and the new password; a new store only the new one."""
    file = tmp_path / "password"
    file.write_text("first")
    url = shared_zookeeper.url_at(shared_zookeeper.port).replace("zk://", "zk://frank@")
    url = f"{url}&password_file={file}"
    with open_store(url) as store:
        store.put(f"{unique_key}/old", b"1")
        file.write_text("second")
        store.put(f"{unique_key}/old", b"2")
        with open_store(url) as later, pytest.raises(StoreRefused, match="denies permission"):
            later.get(f"{unique_key}/old")


@pytest.mark.parametrize("scheme", ["etcd", "zk"])
def test_unusable_password_file_is_refused(scheme: str, tmp_path: Path) -> None:
    """It has to exist, be not empty, and come with a user and without a password in the URL."""
    file = tmp_path / "password"
    file.write_text("\n")
    for url, error in (
        (f"{scheme}://ann@h?password_file={file}", ConfigurationError),
        (f"{scheme}://ann@h?password_file={tmp_path}/none", ConfigurationError),
        (f"{scheme}://ann:x@h?password_file={file}", URLError),
    ):
        with pytest.raises(error, match="password"):
            open_store(url)
    file.write_text("secret")
    with pytest.raises(URLError, match="user"):
        open_store(f"{scheme}://h?password_file={file}")


def test_keys_that_are_not_utf8_are_not_listed(
    consul: Consul, shared_etcd: Etcd, unique_key: str
) -> None:
    """Consul would show another key in their place; both stores behave the same."""
    consul.request("PUT", f"/v1/kv/{unique_key}/%ff", b"1")
    consul.request("PUT", f"/v1/kv/{unique_key}/%fe", b"2")
    raw = base64.b64encode(unique_key.encode() + b"/\xff").decode()
    shared_etcd.call("kv/put", {"key": raw, "value": ""})
    for url in (consul.url, shared_etcd.url):
        with open_store(url) as store:
            store.put(f"{unique_key}/a", b"3")
            assert [one.key for one in store.list(unique_key)] == [f"{unique_key}/a"]
            seen: list[object] = []
            watch = store.watch_tree(unique_key, seen.append)
            store.put(f"{unique_key}/b", b"4")
            watch.close()
            assert all("\ufffd" not in repr(one) and "\udcff" not in repr(one) for one in seen)
            store.delete_tree(unique_key)
