"""Users, tokens and TLS, valid and invalid."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from leadership_core import Candidate, open_store
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import Waiting
from leadership_core.backend.url import StoreURL
from leadership_core.errors import StoreRefused, StoreUnavailable
from leadership_core.events import Lost, StoreDown
from leadership_etcd.options import Options
from tests.conftest import EtcdFactory
from tests.integration.etcd.conftest import Opener
from tests.integration.etcd.tools import is_led_by
from tests.support.servers.certificates import Certificates
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.releases import others
from tests.support.waiting import Seen, has_value, wait_until


@pytest.fixture
def guarded(etcd_server: EtcdFactory) -> EtcdServer:
    return etcd_server(auth=True)


@pytest.fixture
def secret(etcd_server: EtcdFactory) -> EtcdServer:
    return etcd_server(tls="mutual")


def test_wrong_password_is_explained_and_hidden(guarded: EtcdServer, opened: Opener) -> None:
    """Every call names the cause, and does not show the password; the right one works."""
    good = opened(guarded.url)
    session, seen = good.open_session(10), Seen()
    watch = good.watch("k", seen)
    assert good.election("election").enter(session, b"Frank").granted
    good.put("k", b"1")
    seen.wait(has_value(b"1"))
    watch.close()

    url = guarded.url_at(guarded.port, password="hush")
    wrong = opened(url)
    anonymous = opened(f"etcd://127.0.0.1:{guarded.port}")
    for bad, words in ((wrong, "does not accept the user"), (anonymous, "USER:PASSWORD@")):
        with pytest.raises(StoreRefused, match=words) as caught:
            bad.put("k", b"1")
        assert "hush" not in str(caught.value) + repr(caught.value.__cause__)
        with pytest.raises(StoreRefused, match=words):
            bad.get("k")
        reported = Seen()
        watch = bad.watch("k", reported)
        reported.wait(lambda one: isinstance(one, StoreRefused))
        watch.close()
    with pytest.raises(StoreRefused):
        wrong.open_session(10)
    assert "hush" not in repr(wrong) + repr(Options.read(StoreURL.parse(url)))


@pytest.mark.parametrize("release", ["etcd", *others("etcd")])
def test_expired_token_is_replaced(etcd_server: EtcdFactory, release: str, opened: Opener) -> None:
    """Calls get a new one; an open stream goes on, and accepts new watches."""
    server = etcd_server(release=release, auth=True, auth_token_ttl=1)
    store, seen, woken = opened(server.url), Seen(), Seen()
    near = opened(server.url)
    first, second = store.open_session(60), near.open_session(60)
    watch = store.watch("k", seen)
    leading = near.election("election").enter(second, b"leads")
    waiting = store.election("election").enter(first, b"waits")
    claim_watch = store.election("election").watch_claim(waiting, woken)
    assert isinstance(store.election("election").status(waiting), Waiting)
    seen.wait(lambda one: one is None)

    time.sleep(4)  # etcd checks once a second which tokens have expired

    later = Seen()
    another = store.watch("other", later)
    near.put("k", b"1")
    near.put("other", b"1")
    near.election("election").withdraw(leading)
    seen.wait(has_value(b"1"))
    later.wait(has_value(b"1"))
    wait_until(lambda: woken)
    assert store.election("election").leader() is not None
    assert first.renew() == 60
    first.close()
    assert not any(isinstance(one, StoreUnavailable) for one in [*seen, *later])
    for one in (watch, another, claim_watch):
        one.close()


def test_waiting_candidate_survives_many_expired_tokens(etcd_server: EtcdFactory) -> None:
    """The user gets no event but those of the election."""
    server = etcd_server(auth=True, auth_token_ttl=1)
    with open_store(server.url) as store, open_store(server.url) as near:
        leading = Candidate(near, "election", "leads", ttl=3)
        assert leading.wait_elected(5) is not None
        waiting = Candidate(store, "election", "waits", ttl=3)
        events = [one.events() for one in (leading, waiting)]
        waiting.run_for_election()

        time.sleep(6)
        leading.resign(cooldown=30)
        assert waiting.wait_elected(5) is not None

        leading.stop()
        waiting.stop()
        reported = [event for one in events for event in one]
    assert not any(isinstance(event, StoreDown | Lost) for event in reported)


def test_authentication_enabled_while_running(etcd_server: EtcdFactory, opened: Opener) -> None:
    """A URL with a user works before, as with etcd's own clients, and afterwards."""
    server = etcd_server()
    store = opened(server.url_at(server.port, user="root", password="p"))
    seen = Seen()
    watch = store.watch("k", seen)
    entry = store.put("k", b"1")
    seen.wait(has_value(b"1"))
    server.cli("user", "add", "root:p")
    server.cli("user", "grant-role", "root", "root", check=False)
    server.cli("auth", "enable")

    assert store.get("k") == entry
    store.put("k", b"2")
    seen.wait(has_value(b"2"))
    watch.close()


def test_role_for_one_prefix_is_enough(guarded: EtcdServer, opened: Opener) -> None:
    """Reading and writing below the election's key is all that an election takes."""
    guarded.cli("role", "add", "leader")
    guarded.cli("role", "grant-permission", "leader", "readwrite", "--prefix=true", "election/")
    guarded.cli("user", "add", "ann:pw")
    guarded.cli("user", "grant-role", "ann", "leader")
    store, seen = opened(guarded.url_at(guarded.port, user="ann", password="pw")), Seen()
    election, session = store.election("election"), store.open_session(10)
    watch = election.watch_leader(seen)

    claim = election.enter(session, b"Frank")
    seen.wait(is_led_by("Frank"))
    election.withdraw(claim)
    seen.wait(lambda one: one is None)
    watch.close()
    session.close()

    with pytest.raises(StoreRefused, match=r"denies permission.*grant"):
        store.put("elsewhere", b"1")
    denied = Seen()
    watch = store.watch("elsewhere", denied)
    denied.wait(lambda one: isinstance(one, StoreRefused))
    watch.close()


def test_denied_watch_does_not_disturb_others(guarded: EtcdServer, opened: Opener) -> None:
    """It reports the refusal and retries: once the permission is granted, it works."""
    guarded.cli("role", "add", "reader")
    guarded.cli("role", "grant-permission", "reader", "readwrite", "mine")
    guarded.cli("user", "add", "ann:pw")
    guarded.cli("user", "grant-role", "ann", "reader")
    store = opened(guarded.url_at(guarded.port, user="ann", password="pw"))
    mine, theirs = Seen(), Seen()
    watches = [store.watch("theirs", theirs), store.watch("mine", mine)]
    theirs.wait(lambda one: isinstance(one, StoreRefused))
    store.put("mine", b"1")
    mine.wait(has_value(b"1"))

    guarded.cli("role", "grant-permission", "reader", "readwrite", "theirs")

    theirs.wait(lambda one: one is None, 10)
    store.put("theirs", b"1")
    theirs.wait(has_value(b"1"))
    for watch in watches:
        watch.close()


def test_tls_with_valid_files(secret: EtcdServer, opened: Opener) -> None:
    """Requests, elections and watches work."""
    store = opened(secret.url)
    session, seen = store.open_session(10), Seen()
    watch = store.election("election").watch_leader(seen)
    store.election("election").enter(session, b"Frank")
    seen.wait(is_led_by("Frank"))
    watch.close()


def test_user_over_tls(etcd_server: EtcdFactory, opened: Opener) -> None:
    """The password has characters that a URL has to escape."""
    server = etcd_server(tls=True, auth=True)

    assert opened(server.url).put("k", b"1").value == b"1"


def test_tls_with_wrong_authority_is_refused(
    secret: EtcdServer, opened: Opener, tmp_path: Path
) -> None:
    """The message names the cure; with verify=false it works."""
    assert secret.certificates is not None
    files = replace(secret.certificates, ca=Certificates.make(tmp_path / "other").ca)

    with pytest.raises(StoreRefused, match=r"not trusted.*set ca="):
        opened(_url(secret, files)).get("k")
    with pytest.raises(StoreRefused, match=r"not trusted.*set ca="):
        opened(f"etcd+tls://127.0.0.1:{secret.port}").get("k")

    unchecked, seen = opened(_url(secret, files) + "&verify=false"), Seen()
    assert unchecked.get("k") is None
    watch = unchecked.watch("k", seen)
    unchecked.put("k", b"1")
    seen.wait(has_value(b"1"))
    watch.close()


def test_tls_without_client_certificate_is_refused(secret: EtcdServer, opened: Opener) -> None:
    """The server requires one, and the message names the options for it."""
    assert secret.certificates is not None

    with pytest.raises(StoreRefused, match=r"set cert= and key="):
        opened(f"etcd+tls://127.0.0.1:{secret.port}?ca={quote(str(secret.certificates.ca))}").get(
            "k"
        )


def test_plain_text_to_tls_port_and_reverse_are_refused(
    secret: EtcdServer, guarded: EtcdServer, opened: Opener
) -> None:
    """Both are lasting errors."""
    with pytest.raises(StoreRefused, match=r"write etcd\+tls://"):
        opened(f"etcd://127.0.0.1:{secret.port}").get("k")
    with pytest.raises(StoreRefused, match="does not speak TLS"):
        opened(f"etcd+tls://127.0.0.1:{guarded.port}").get("k")


def test_renewed_client_certificate_is_used(
    secret: EtcdServer, opened: Opener, tmp_path: Path
) -> None:
    """The files are read again for the next connection."""
    assert secret.certificates is not None
    other = Certificates.make(tmp_path / "other")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(other.client_cert.read_bytes())
    key.write_bytes(other.client_key.read_bytes())
    store = opened(_url(secret, replace(secret.certificates, client_cert=cert, client_key=key)))
    with pytest.raises(StoreRefused):
        store.get("k")

    cert.write_bytes(secret.certificates.client_cert.read_bytes())
    key.write_bytes(secret.certificates.client_key.read_bytes())

    assert store.get("k") is None


def test_server_that_is_not_etcd_is_named_in_error(opened: Opener) -> None:
    """It is a web server, a server that hangs up, or an unknown host."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    with server, socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for port in (server.server_port, listener.getsockname()[1]):
            store = opened(f"etcd://127.0.0.1:{port}")
            with call_timeout(1.0), pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}"):
                store.put("k", b"1")
        server.shutdown()
        thread.join()
    with pytest.raises(StoreRefused, match=r"nosuchhost.*unknown host"):
        opened("etcd://nosuchhost.invalid:2379").get("k")


def _url(server: EtcdServer, files: Certificates) -> str:
    query = (
        f"ca={quote(str(files.ca))}&cert={quote(str(files.client_cert))}"
        f"&key={quote(str(files.client_key))}"
    )
    return f"etcd+tls://127.0.0.1:{server.port}?{query}"
