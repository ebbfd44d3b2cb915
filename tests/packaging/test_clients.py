"""Undocumented parts of the client libraries that the backends use.

A failure names the client, its release and the changed part. Then either the
backend is adapted, or the upper bound in its pyproject.toml stays.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from consul import base, exceptions
from consul.callback import CB
from kazoo.client import KazooClient
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol import connection, serialization
from packaging.requirements import Requirement
from packaging.version import Version

from leadership_consul import compat as consul_compat
from leadership_etcd import compat
from leadership_zookeeper.store import ZooKeeperStore
from tests.support.servers.zookeeper import ZooKeeper

ROOT = Path(__file__).parents[2]
BOUND = {"py-consul": "1.9", "etcd3": "0.13", "protobuf": "8", "kazoo": "2.12"}
"""The clients whose private parts are used, and their first untested release."""


@contextmanager
def blamed(client: str, part: str) -> Iterator[None]:
    """Let a failure name the client, its release and the part."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a new release may raise anything
        release = metadata.version(client)
        pytest.fail(f"{client} {release} has changed {part}: {error!r}", pytrace=False)


def _requirements() -> dict[str, Requirement]:
    found = {}
    for file in ROOT.glob("leadership_*/pyproject.toml"):
        for line in tomllib.loads(file.read_text())["project"]["dependencies"]:
            requirement = Requirement(line)
            found[requirement.name] = requirement
    return found


@pytest.mark.parametrize("client", BOUND)
def test_clients_with_used_private_parts_have_an_upper_bound(client: str) -> None:
    """The bound excludes the first untested release."""
    requirement = _requirements()[client]

    assert Version(BOUND[client]) not in requirement.specifier
    assert Version(metadata.version(client)) in requirement.specifier


def test_message_names_the_required_version_of_py_consul() -> None:
    """The version in the message is the requirement in pyproject.toml."""
    wanted = set(_requirements()["py-consul"].specifier)
    named = re.findall(r"py-consul([<>=.,\d]+)'", Path(consul_compat.__file__).read_text())

    assert named
    assert all(set(Requirement(f"py-consul{one}").specifier) == wanted for one in named)


class _Recorder(base.HTTPClient):  # type: ignore[misc]  # py-consul has no types
    """Replacement for py-consul's HTTP client, which records the requests."""

    def __init__(self, answer: base.Response) -> None:
        super().__init__(scheme="http")
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def _ask(self, method: str) -> Callable[..., Any]:
        def ask(callback: Any, path: str, params: Any = None, **_: Any) -> Any:
            self.asked.append((method, path, dict(params or ())))
            return callback(self.answer)

        return ask

    def get(self, *words: Any, **options: Any) -> Any:
        return self._ask("GET")(*words, **options)

    def put(self, *words: Any, **options: Any) -> Any:
        return self._ask("PUT")(*words, **options)

    def delete(self, *words: Any, **options: Any) -> Any:
        return self._ask("DELETE")(*words, **options)

    def post(self, *words: Any, **options: Any) -> Any:
        return self._ask("POST")(*words, **options)

    def close(self) -> None:
        pass


def _consul(status: int, body: object) -> tuple[Any, _Recorder]:
    answer = base.Response(status, {"X-Consul-Index": "7"}, json.dumps(body))
    recorder = _Recorder(answer)

    class Client(base.Consul):  # type: ignore[misc]  # py-consul has no types
        def http_connect(self, *_: Any, **__: Any) -> _Recorder:
            return recorder

    return Client(host="", port=0, scheme="http", verify=True, dc=None), recorder


def test_py_consul_uses_the_client_of_http_connect() -> None:
    """Its requests go through the object that `http_connect` returns."""
    with blamed("py-consul", "http_connect, kv.get or the answers that a callback gets"):
        client, recorder = _consul(200, [{"Key": "k", "Value": "dg==", "Flags": 0}])
        index, found = client.kv.get("k", consistency="consistent")
        method, path, params = recorder.asked[-1]
        assert (method, path) == ("GET", "/v1/kv/k")
        assert "consistent" in params
        assert (index, found["Value"]) == ("7", b"v")


def test_py_consul_sends_session_requests_as_expected() -> None:
    """The methods and paths of its session requests."""
    with blamed("py-consul", "session.renew, session.info or session.destroy"):
        client, recorder = _consul(200, [{"ID": "s", "TTL": "10s", "Name": "n"}])
        assert client.session.renew("s")["TTL"] == "10s"
        assert recorder.asked[-1][:2] == ("PUT", "/v1/session/renew/s")
        assert client.session.info("s", consistency="consistent")[1]["Name"] == "n"
        client.session.destroy("s")
        assert recorder.asked[-1][:2] == ("PUT", "/v1/session/destroy/s")


def test_py_consul_raises_a_class_for_each_status() -> None:
    """The exceptions for 400, 403 and 404."""
    with blamed("py-consul", "callback.CB.json or exceptions"):
        for status, name in ((400, "BadRequest"), (403, "ACLPermissionDenied"), (404, "NotFound")):
            with pytest.raises(getattr(exceptions, name)):
                CB.json(allow_404=False)(base.Response(status, {}, "no"))


def test_python_etcd3_has_the_used_descriptors() -> None:
    """The descriptors in its generated files."""
    with blamed("etcd3", "the generated files of etcdrpc"):
        for file in ("kv", "auth", "rpc"):
            assert len(compat._descriptor(file)) > 100
        fields = set(compat.pb.RangeRequest.DESCRIPTOR.fields_by_name)
        assert {"key", "range_end", "limit", "max_create_revision", "keys_only"} <= fields


def test_protobuf_makes_messages_of_descriptors() -> None:
    """A message of such a descriptor can be encoded and decoded."""
    with blamed("protobuf", "internal.builder or descriptor_pool"):
        request = compat.pb.RangeRequest(key=b"k", limit=2)
        again = compat.pb.RangeRequest.FromString(request.SerializeToString())
        assert (again.key, again.limit, again.max_create_revision) == (b"k", 2, 0)


def test_kazoo_uses_the_given_handler() -> None:
    """Its connection calls the methods that our handler replaces."""
    with blamed("kazoo", "what its connection asks of a handler"):
        source = inspect.getsource(connection.ConnectionHandler)
        for call in ("spawn(self.zk_loop)", "create_connection", "select("):
            assert f"handler.{call}" in source, call
        ours = {"create_connection", "dispatch_callback", "select", "sleep_func", "spawn"}
        assert ours <= set(dir(SequentialThreadingHandler))


def test_kazoo_has_the_expected_pings_and_closes() -> None:
    """The numbers of these requests, and the signature of `_call`."""
    with blamed("kazoo", "the numbers of pings and ends, or _call"):
        assert (connection.PING_XID, serialization.Ping.type) == (-2, 11)
        assert serialization.Close.type == -11
        assert list(inspect.signature(KazooClient._call).parameters)[1:] == [
            "request",
            "async_object",
        ]
        fields = serialization.Connect._fields
        assert {"time_out", "session_id", "passwd"} <= set(fields)


def test_kazoo_lets_the_granted_timeout_be_read(shared_zookeeper: ZooKeeper) -> None:
    """A session knows its granted ttl, which is read from kazoo's socket."""
    with blamed("kazoo", "how it reads the answer to connecting"):
        from leadership_core import StoreURL

        store = ZooKeeperStore(StoreURL.parse(shared_zookeeper.url))
        try:
            session = store.open_session(2.0)
            assert session.ttl == 2.0
            session.close()
        finally:
            store.close()
