"""ACL tokens and TLS, right and wrong, on servers that insist on them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from leadership_core.errors import StoreRefused
from tests.conftest import ConsulFactory
from tests.consul.conftest import Opener
from tests.consul.tools import Seen
from tests.servers.certificates import Certificates
from tests.servers.consul import ConsulAgent

WRONG = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def guarded(consul_server: ConsulFactory) -> ConsulAgent:
    return consul_server(dev=True, acl=True)


@pytest.fixture
def secret(consul_server: ConsulFactory) -> ConsulAgent:
    return consul_server(dev=True, tls="mutual")


def test_the_right_token_is_enough_and_a_wrong_one_is_explained(
    guarded: ConsulAgent, opened: Opener, unique_key: str
) -> None:
    """Reading, writing, sessions and watches say what the token lacks, and not the token."""
    good = opened(guarded.url)
    session = good.open_session(10)
    assert good.election(unique_key).enter(session, b"Frank").token is not None

    for bad in (
        opened(guarded.url_at(guarded.port, token=WRONG)),
        opened(f"consul://127.0.0.1:{guarded.port}"),
    ):
        for call in (
            lambda: bad.open_session(10),  # noqa: B023  # called before the next round
            lambda: bad.put(unique_key, b"1"),  # noqa: B023
        ):
            with pytest.raises(StoreRefused, match=r"denies permission.*session:write") as caught:
                call()
            assert WRONG not in str(caught.value)


def test_a_narrow_policy_is_enough(guarded: ConsulAgent, opened: Opener, unique_key: str) -> None:
    """Writing the key and sessions is all that an election takes; other keys stay closed."""
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


def test_a_rotated_token_file_mends_a_refusal(
    guarded: ConsulAgent, opened: Opener, unique_key: str, tmp_path: Path
) -> None:
    """Without opening the store again."""
    file = tmp_path / "token"
    file.write_text(WRONG)
    store = opened(f"consul://127.0.0.1:{guarded.port}?token_file={quote(str(file))}")
    with pytest.raises(StoreRefused):
        store.put(unique_key, b"1")

    file.write_text(guarded.token + "\n")

    assert store.put(unique_key, b"1").value == b"1"


def test_tls_with_the_right_files(secret: ConsulAgent, opened: Opener, unique_key: str) -> None:
    """Requests, elections and watches, which end at once also when they are encrypted."""
    store = opened(_url(secret, secret.certificates))
    session, seen = store.open_session(10), Seen()
    watch = store.election(unique_key).watch_leader(seen)
    store.election(unique_key).enter(session, b"Frank")
    seen.wait(lambda it: str(it) == "Frank")
    watch.close()  # and no_thread_left gives the poll 2 s of its 30


def test_tls_with_the_wrong_authority(
    secret: ConsulAgent, opened: Opener, unique_key: str, tmp_path: Path
) -> None:
    """It is refused with what to do, unless the URL asks for no check at all."""
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


def test_tls_without_our_certificate(secret: ConsulAgent, opened: Opener, unique_key: str) -> None:
    """The server wants one, and the message says how to give it."""
    assert secret.certificates is not None

    with pytest.raises(StoreRefused, match=r"set cert= and key="):
        opened(secret.url).get(unique_key)


def test_plain_http_to_a_tls_port_and_back(
    secret: ConsulAgent, guarded: ConsulAgent, opened: Opener, unique_key: str
) -> None:
    """Both mistakes are refused, for they do not mend themselves."""
    with pytest.raises(StoreRefused, match="HTTPS"):
        opened(f"consul://127.0.0.1:{secret.port}").get(unique_key)
    with pytest.raises(StoreRefused, match="does not speak TLS"):
        opened(f"consul+tls://127.0.0.1:{guarded.port}").get(unique_key)


def test_a_renewed_client_certificate_is_used(
    secret: ConsulAgent, opened: Opener, unique_key: str, tmp_path: Path
) -> None:
    """The files are read again for the next connection when they have changed."""
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
