"""Users, their permissions, and TLS."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from kazoo.security import make_digest_acl

from leadership_core import Candidate, Store
from leadership_core.backend.protocols import Leading
from leadership_core.errors import StoreRefused
from tests.conftest import ZooKeeperFactory
from tests.integration.zookeeper.conftest import Opener
from tests.integration.zookeeper.tools import kazoo
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import Seen


def _as(server: ZooKeeper, user: str, password: str) -> str:
    return server.url_at(server.port, user=user, password=password)


def test_nodes_belong_to_user(shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str) -> None:
    """Folders, entries and claims; other clients with the password can use them."""
    store = opened(_as(shared_zookeeper, "frank", "p@ss:w/rd"))
    session = store.open_session(4)
    claim = store.election(f"{unique_key}/leader").enter(session, b"Frank")
    store.put(f"{unique_key}/entry", b"1")

    with kazoo(shared_zookeeper.port, auth_data=[("digest", "frank:p@ss:w/rd")]) as client:
        for path in (unique_key, f"{unique_key}/leader", f"{unique_key}/entry", claim.path):
            (acl,) = client.get_acls(path)[0]
            assert (acl.id.scheme, acl.id.id.partition(":")[0]) == ("digest", "frank")
    same = opened(_as(shared_zookeeper, "frank", "p@ss:w/rd"))
    assert str(same.election(f"{unique_key}/leader").leader()) == "Frank"


@pytest.mark.parametrize("who", [("frank", "wrong"), ("doug", "secret"), None])
def test_other_users_are_refused(
    who: tuple[str, str] | None, shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """For each kind of request, with a cure in the message; their sessions stay alive."""
    owner = opened(_as(shared_zookeeper, "frank", "secret"))
    owner.put(f"{unique_key}/entry", b"1")
    other = opened(shared_zookeeper.url if who is None else _as(shared_zookeeper, *who))
    session = other.open_session(4)
    election, seen = other.election(unique_key), Seen()

    for request in (
        lambda: other.get(f"{unique_key}/entry"),
        lambda: other.put(f"{unique_key}/entry", b"2"),
        lambda: other.put(f"{unique_key}/new", b"2"),
        lambda: other.list(unique_key),
        lambda: election.enter(session, b"Doug"),
        election.leader,
    ):
        with pytest.raises(StoreRefused, match="denies permission"):
            request()
    watch = other.watch(f"{unique_key}/entry", seen)
    seen.wait(lambda change: isinstance(change, StoreRefused))
    watch.close()

    assert session.renew() == 4


def test_user_needs_no_permission_above_chroot(
    shared_zookeeper: ZooKeeper, opened: Opener, unique_key: str
) -> None:
    """Existing folders are not created again."""
    opened(_as(shared_zookeeper, "admin", "secret")).put(f"{unique_key}/top/x", b"1")
    with kazoo(shared_zookeeper.port, auth_data=[("digest", "admin:secret")]) as client:
        mine = make_digest_acl("frank", "pw", all=True)
        client.create(f"{unique_key}/top/chroot", None, acl=[mine])
    url = shared_zookeeper.url_at(
        shared_zookeeper.port, chroot=f"/{unique_key}/top/chroot", user="frank", password="pw"
    )
    store = opened(url)

    claim = store.election(f"{store.prefix}/a/b").enter(store.open_session(4), b"Frank")

    assert claim.granted
    assert store.delete_tree(f"{store.prefix}/a") == 1
    with kazoo(shared_zookeeper.port, auth_data=[("digest", "admin:secret")]) as client:
        assert "chroot" in client.get_children(f"{unique_key}/top")


def test_election_over_mutual_tls(
    zookeeper_server: ZooKeeperFactory, opened: Opener, unique_key: str
) -> None:
    """Large values and watches pass, too."""
    server = zookeeper_server(tls="mutual")
    with Store(opened(server.secure_url), "zk+tls://") as handle:
        candidate = Candidate(handle, unique_key, "Frank", ttl=4)
        candidate.run_for_election()
        assert candidate.wait_elected(10) is not None
        seen = Seen()
        watch = handle.watch("large", seen)
        value = bytes(range(256)) * 2000
        handle.put("large", value, fence=candidate.term)
        assert seen.wait(lambda found: found is not None).value == value
        watch.close()
        assert candidate.stop()


def test_many_answers_at_once_over_tls(
    zookeeper_server: ZooKeeperFactory, opened: Opener, unique_key: str
) -> None:
    """No answer waits in the buffer of TLS for the next one."""
    server = zookeeper_server(tls=True)
    store = opened(server.secure_url)
    session = store.open_session(8)
    election = store.election(unique_key)
    claims = [election.enter(session, b"%d" % number) for number in range(20)]
    for claim in claims:
        status = election.status(claim)
        assert isinstance(status, Leading)
        election.withdraw(claim)
    for number in range(150):
        store.put(f"{unique_key}/e/{number}", b"x" * 100)
    assert len(store.list(f"{unique_key}/e")) == 150


def test_tls_failure_names_cure(zookeeper_server: ZooKeeperFactory, opened: Opener) -> None:
    """For an unknown authority, a missing certificate, and a port without TLS."""
    server = zookeeper_server(tls="mutual")
    assert server.certificates
    ca = quote(str(server.certificates.ca))
    where = f"zk+tls://127.0.0.1:{server.secure_port}"
    with pytest.raises(StoreRefused, match="set ca="):
        opened(where).get("a")
    with pytest.raises(StoreRefused, match="set cert= and key="):
        opened(f"{where}?ca={ca}").get("a")
    with pytest.raises(Exception, match=f"127.0.0.1:{server.port}"):
        opened(f"zk+tls://127.0.0.1:{server.port}?ca={ca}").get("a")


def test_name_in_certificate_is_verified(
    zookeeper_server: ZooKeeperFactory, opened: Opener
) -> None:
    """Unless the URL has verify=false."""
    server = zookeeper_server(tls=True)
    assert server.certificates
    ca = quote(str(server.certificates.ca))
    where = f"zk+tls://localhost:{server.secure_port}"

    assert opened(f"{where}?ca={ca}").get("a") is None
    other = f"zk+tls://127.0.0.1.nip.invalid:{server.secure_port}?ca={ca}"
    with pytest.raises(StoreRefused, match="unknown host"):
        opened(other).get("a")
    assert opened(f"{where}?verify=false").get("a") is None
