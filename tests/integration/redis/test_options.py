"""Options in the URL, and secrets that must not be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import leadership_redis
from leadership_core import ConfigurationError, URLError, open_store
from leadership_core.backend import StoreURL
from leadership_redis.options import Options
from leadership_redis.store import RedisStore
from tests.conftest import RedisFactory
from tests.support.servers.ports import free_port


def _options(url: str) -> Options:
    parsed = StoreURL.parse(url)
    store = leadership_redis.leadership_open_store(parsed)
    assert isinstance(store, RedisStore)
    store.close()
    return store.client.options


def test_opening_contacts_no_server_and_ignores_other_schemes() -> None:
    """The URL of another plugin is left to that plugin."""
    store = leadership_redis.leadership_open_store(
        StoreURL.parse(f"redis://127.0.0.1:{free_port()}/some/prefix/")
    )

    assert isinstance(store, RedisStore)
    assert store.prefix == "some/prefix"
    assert leadership_redis.leadership_open_store(StoreURL.parse("consul://h")) is None
    store.close()
    store.close()


@pytest.mark.parametrize(
    ("path", "database", "prefix"),
    [
        ("", 0, ""),
        ("/0", 0, ""),
        ("/2", 2, ""),
        ("/2/a/b", 2, "a/b"),
        ("/a/2", 0, "a/2"),
        ("/0/17/x", 0, "17/x"),
    ],
)
def test_number_at_the_beginning_of_the_path_is_the_database(
    path: str, database: int, prefix: str
) -> None:
    """As in the URLs of other clients."""
    options = _options(f"redis://h{path}")

    assert (options.database, options.prefix) == (database, prefix)


def test_hosts_and_default_ports() -> None:
    """The port is that of Redis or of Sentinel unless it is given."""

    def hosts(url: str) -> list[str]:
        return [str(host) for host in _options(url).hosts]

    assert hosts("redis://") == ["localhost:6379"]
    assert hosts("rediss://a,b:1") == ["a:6379", "b:1"]
    assert hosts("redis+sentinel://a,b:1?service=m") == ["a:26379", "b:1"]
    assert _options("rediss://h").tls is not None
    assert _options("redis+tls://h").tls is not None
    assert _options("redis://h").tls is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h?timeout=1", "no option 'timeout'"),
        ("redis://h?ca=/x", "needs TLS"),
        ("redis://h?service=main", "no option 'service'"),
        ("redis+sentinel://h", "needs service="),
        ("redis://h?wait=-1", "number of replicas"),
        ("redis://h?wait=x", "number of replicas"),
        ("redis://h?tag=%7Bx%7D", "is not 1 to 64"),
        ("redis://ann@h", "without a password"),
        ("redis://:a@h?password_file=/x", "given twice"),
        ("rediss://h?key=/x", "'cert'"),
    ],
)
def test_wrong_url_is_refused(url: str, said: str) -> None:
    """The message names the option."""
    with pytest.raises(URLError, match=said):
        open_store(url)


def test_secrets_are_masked(tmp_path: Path) -> None:
    """Neither the store nor its options show them."""
    file = tmp_path / "password"
    file.write_text("hunter3\n")
    store = RedisStore(
        StoreURL.parse("redis+sentinel://ann:hunter2@h?service=m&sentinel_password=hunter1")
    )
    shown = f"{store!r} {store.client.options!r}"
    store.close()
    other = _options(f"redis://ann@h?password_file={file}")

    assert "hunter" not in shown
    assert "hunter" not in repr(other)
    assert other.login.get_credentials() == ("ann", "hunter3")
    with pytest.raises(ConfigurationError, match="password_file"):
        _options(f"redis://h?password_file={tmp_path / 'none'}")


def test_tags_and_databases_separate_stores(redis_server: RedisFactory) -> None:
    """A tag, or a database, is a store of its own; the prefix is a part of the key."""
    server = redis_server()
    with open_store(server.url) as store:
        entry = store.put("a/b", b"1")
    with open_store(f"{server.url}/a") as store:
        assert store.get("b") is not None
    for other in (f"{server.url}?tag=other", f"{server.url}/1"):
        with open_store(other) as store:
            assert store.get("a/b") is None
            assert store.put("a/b", b"2").value != entry.value
