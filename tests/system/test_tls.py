"""Wrong TLS configurations, and the cause and cure in the error of each store."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from leadership_core import open_store
from leadership_core.errors import ConfigurationError, NotApplied, StoreRefused
from tests.support.resolver import Names
from tests.support.servers.certificates import Certificates
from tests.support.servers.tls_trouble import CASES, wrong_server

SCHEMES = ("consul", "etcd", "zk")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_tls_error_names_cause_and_cure(scheme: str, case: str, tmp_path: Path) -> None:
    """The fault is a name, a time, an authority, a version, our certificate, or no TLS at all."""
    with wrong_server(case, tmp_path) as server:
        url = f"{scheme}+tls://127.0.0.1:{server.port}?ca={quote(str(server.ca))}"
        with open_store(url) as store, pytest.raises(StoreRefused) as caught:
            store.get("k")

    assert re.search(CASES[case][1], str(caught.value)), str(caught.value)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_certificate_of_other_authority_is_reported_as_ours(scheme: str, tmp_path: Path) -> None:
    """The server refuses the client's certificate, so that is the one to change."""
    with wrong_server("client certificate", tmp_path) as server:
        cert, key = map(quote, map(str, server.stranger))
        url = f"{scheme}+tls://127.0.0.1:{server.port}?ca={server.ca}&cert={cert}&key={key}"
        with open_store(url) as store, pytest.raises(StoreRefused) as caught:
            store.get("k")

    assert re.search(r"refuses our TLS certificate.*its authority", str(caught.value))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_unusable_tls_files_are_named(scheme: str, tmp_path: Path) -> None:
    """The error names the option of each file, when the store is opened."""
    one, other = Certificates.make(tmp_path / "one"), Certificates.make(tmp_path / "other")
    garbage, locked = tmp_path / "garbage.pem", tmp_path / "missing" / "cert.pem"
    garbage.write_text("no certificate")
    for query, words in (
        (f"ca={locked}", "ca=.*missing.*No such file"),
        (f"ca={tmp_path}", "ca=.*Is a directory"),
        (f"ca={garbage}", "ca=.*garbage.*not in PEM format"),
        (f"cert={locked}", "cert=.*No such file"),
        (f"cert={one.client_cert}&key={locked}", "key=.*No such file"),
        (f"cert={one.client_cert}&key={other.client_key}", "key does not belong to the cert"),
        (f"cert={one.client_cert}", "no private key.*key="),
        (f"cert={one.client_cert}&key={garbage}", "not in PEM format"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            open_store(f"{scheme}+tls://127.0.0.1?{query}")


@pytest.mark.parametrize("kind", ["consul", "etcd", "zookeeper"])
def test_hostname_with_final_dot_is_accepted(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is resolved with the dot, and verified without it, as in certificates."""
    server: Any = request.getfixturevalue(f"{kind}_server")(tls=True)
    names = Names(monkeypatch)
    names.set("localhost.", ["127.0.0.1"])
    url = server.secure_url if kind == "zookeeper" else server.url

    with open_store(url.replace("127.0.0.1", "localhost.")) as store:
        until = time.monotonic() + 20
        while True:  # the first handshake of a Java server may take seconds
            try:
                store.put("k", b"1")
                break
            except NotApplied:
                assert time.monotonic() < until
    assert names.asked["localhost."] >= 1
