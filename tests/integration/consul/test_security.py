"""ACL tokens and TLS, valid and invalid, on servers that require them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from leadership_core.errors import StoreRefused
from tests.conftest import ConsulFactory
from tests.integration.consul.conftest import Opener
from tests.support.servers.certificates import Certificates
from tests.support.servers.consul import ConsulAgent
from tests.support.waiting import Seen

WRONG = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def guarded(consul_server: ConsulFactory) -> ConsulAgent:
    return consul_server(dev=True, acl=True)


@pytest.fixture
def secret(consul_server: ConsulFactory) -> ConsulAgent:
    return consul_server(dev=True, tls="mutual")


def test_wrong_token_is_refused_with_the_required_policy(
    guarded: ConsulAgent, opened: Opener, unique_key: str
) -> None:
    """The error names what the token must permit, and does not show the token."""
    good = opened(guarded.url)
    session = good.open_session(10)
    assert good.election(unique_key).enter(session, b"Frank").token is not None

    for bad in (
        opened(guarded.url_at(guarded.port, token=WRONG)),
        opened(f"consul://127.0.0.1:{guarded.port}"),
    ):
        for call in (
            lambda: bad.open_session(10),  # noqa: B023  # called before the next round
            lambda: bad.put(unique_key, b"1"),  # noqa: B023  # called within this turn of the loop
        ):
            with pytest.raises(StoreRefused, match=r"denies permission.*session:write") as caught:
                call()
            assert WRONG not in str(caught.value)


def test_narrow_policy_permits_an_election(
    guarded: ConsulAgent, opened: Opener, unique_key: str
) -> None:
    """To write the key and sessions is all that an election needs; other keys stay refused."""
    rules = f'key "{unique_key}" {{ policy = "write" }} session_prefix "" {{ policy = "write" }}'
    guarded.request("PUT", "/v1/acl/policy", {"Name": "leader", "Rules": rules})
    made = guarded.request("PUT", "/v1/acl/token", {"Policies": [{"Name": "leader"}]})
    store = opened(guarded.url_at(guarded.port, token=made.body["SecretID"]))
    election, seen = store.election(unique_key), Seen()
    session = store.open_session(10)
    election.watch_leader(seen)

    claim = election.enter(session, b"Frank")
    seen.wait(lambda it: str(it) == "Frank")
    election.withdraw(claim)
    seen.wait(lambda it: it is None)

    with pytest.raises(StoreRefused):
        store.put(f"{unique_key}/data", b"1")
    opened(guarded.url).put(f"{unique_key}/other", b"1")
    with pytest.raises(StoreRefused, match="denies permission"):
        store.election(f"{unique_key}/other").enter(session, b"Frank")


def test_rotated_token_file_ends_a_refusal(
    guarded: ConsulAgent, opened: Opener, unique_key: str, tmp_path: Path
) -> None:
    """The store need not be opened again."""
    file = tmp_path / "token"
    file.write_text(WRONG)
    store = opened(f"consul://127.0.0.1:{guarded.port}?token_file={quote(str(file))}")
    with pytest.raises(StoreRefused):
        store.put(unique_key, b"1")

    file.write_text(guarded.token + "\n")

    assert store.put(unique_key, b"1").value == b"1"


def test_tls_with_valid_files(secret: ConsulAgent, opened: Opener, unique_key: str) -> None:
    """Requests, elections and watches work, and a watch ends at once."""
    store = opened(_url(secret, secret.certificates))
    session, seen = store.open_session(10), Seen()
    watch = store.election(unique_key).watch_leader(seen)
    store.election(unique_key).enter(session, b"Frank")
    seen.wait(lambda it: str(it) == "Frank")
    watch.close()  # a fixture checks that the thread of the poll ends


def test_tls_with_an_untrusted_ca_is_refused(
    secret: ConsulAgent, opened: Opener, unique_key: str, tmp_path: Path
) -> None:
    """The error says what to set; `verify=false` turns the check off."""
    assert secret.certificates is not None
    other = Certificates.make(tmp_path / "other")
    files = Certificates(
        other.ca,
        secret.certificates.server_cert,
        secret.certificates.server_key,
        secret.certificates.client_cert,
        secret.certificates.client_key,
    )

    with pytest.raises(StoreRefused, match=r"not trusted; set ca="):
        opened(_url(secret, files)).get(unique_key)
    with pytest.raises(StoreRefused, match=r"not trusted; set ca="):
        opened(f"consul+tls://127.0.0.1:{secret.port}").get(unique_key)

    assert opened(_url(secret, files) + "&verify=false").get(unique_key) is None


def test_tls_without_a_client_certificate_is_refused(
    secret: ConsulAgent, opened: Opener, unique_key: str
) -> None:
    """The server requires one, and the error names the options."""
    assert secret.certificates is not None

    with pytest.raises(StoreRefused, match=r"set cert= and key="):
        opened(secret.url).get(unique_key)


def test_http_and_https_mixed_up_is_refused(
    secret: ConsulAgent, guarded: ConsulAgent, opened: Opener, unique_key: str
) -> None:
    """Both mistakes are lasting errors."""
    with pytest.raises(StoreRefused, match="HTTPS"):
        opened(f"consul://127.0.0.1:{secret.port}").get(unique_key)
    with pytest.raises(StoreRefused, match="does not speak TLS"):
        opened(f"consul+tls://127.0.0.1:{guarded.port}").get(unique_key)


def test_renewed_client_certificate_is_used(
    secret: ConsulAgent, opened: Opener, unique_key: str, tmp_path: Path
) -> None:
    """Files that have changed are read again for the next connection."""
    assert secret.certificates is not None
    other = Certificates.make(tmp_path / "other")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(other.client_cert.read_bytes())
    key.write_bytes(other.client_key.read_bytes())
    files = Certificates(
        secret.certificates.ca,
        secret.certificates.server_cert,
        secret.certificates.server_key,
        cert,
        key,
    )
    store = opened(_url(secret, files))
    with pytest.raises(StoreRefused):
        store.get(unique_key)

    cert.write_bytes(secret.certificates.client_cert.read_bytes())
    key.write_bytes(secret.certificates.client_key.read_bytes())

    assert store.get(unique_key) is None


def _url(agent: ConsulAgent, files: Certificates | None) -> str:
    assert files is not None
    query = f"ca={quote(str(files.ca))}&cert={quote(str(files.client_cert))}&key={quote(str(files.client_key))}"
    return f"consul+tls://127.0.0.1:{agent.port}?{query}"
