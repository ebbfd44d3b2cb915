"""A token or a password that is wrong, is taken away, and works again."""

from __future__ import annotations

import signal
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass

import pytest
from kazoo.exceptions import NoNodeError
from kazoo.security import make_digest_acl

from leadership_core import Candidate, Follower, StoreRefused, open_store
from tests.conftest import ConsulFactory, EtcdFactory
from tests.scenarios.conftest import FleetFactory, Report
from tests.scenarios.diary import now
from tests.scenarios.offices import kazoo_client
from tests.servers.consul import ConsulAgent
from tests.servers.etcd import EtcdServer
from tests.servers.zookeeper import ZooKeeperServer

_RULES = 'key_prefix "" { policy = "write" } session_prefix "" { policy = "write" }'


@dataclass
class Right:
    """An ACL token with the rights that a candidate needs."""

    agent: ConsulAgent
    secret: str
    accessor: str = ""

    @classmethod
    def give(cls, agent: ConsulAgent) -> Right:
        policy = {"Name": "candidates", "Rules": _RULES}
        assert agent.request("PUT", "/v1/acl/policy", policy).status == 200
        right = cls(agent, str(uuid.uuid4()))
        right.restore()
        return right

    def restore(self) -> None:
        token = {"SecretID": self.secret, "Policies": [{"Name": "candidates"}]}
        made = self.agent.request("PUT", "/v1/acl/token", token)
        assert made.status == 200, made
        self.accessor = made.body["AccessorID"]

    def revoke(self) -> None:
        assert self.agent.request("DELETE", f"/v1/acl/token/{self.accessor}").status == 200


def test_a_token_revoked_in_mid_term(
    make_fleet: FleetFactory, consul_server: ConsulFactory, measured: Report
) -> None:
    """Belief lasts to its deadline at most, and campaigning goes on until the token works again."""
    agent = consul_server(dev=True, acl=True)
    right = Right.give(agent)
    fleet = make_fleet(agent.url, ttl=2.0)
    far = fleet.start("far", url=agent.url_at(agent.port, token=right.secret))
    reign = fleet.await_reign(15)
    fleet.start("near").await_event("campaigning", 15)
    time.sleep(0.5)

    revoked = now()
    right.revoke()
    down = far.await_event("store_down", 5)
    assert "permission" in (down.reason or "")
    near = fleet.await_reign(3 * fleet.ttl + 3, after=reign)
    assert far.await_event("lost", 1).reason == "expired"
    belief = far.diary.read().beliefs[-1]
    measured("belief went on for", (belief.until - revoked) / 1e9)
    assert (belief.until - revoked) / 1e9 < fleet.ttl - 0.5 + 0.1

    right.restore()
    far.await_event("store_up", 10)
    near.worker.stop()
    assert fleet.await_reign(10, after=near).worker is far
    assert right.secret not in far.process.tail(1000)
    assert agent.token not in near.worker.process.tail(1000)
    fleet.finish()


@pytest.mark.parametrize("token", ["", str(uuid.uuid4())], ids=["none", "unknown"])
def test_a_wrong_token_from_the_start(token: str, consul_server: ConsulFactory) -> None:
    """Whoever waits gets the error that says so, without the token."""
    agent = consul_server(dev=True, acl=True)
    with open_store(agent.url_at(agent.port, token=token)) as store:
        candidate = Candidate(store, "service/leader", "ann", ttl=2.0)
        verdicts = candidate.run_for_election()
        assert next(verdicts) is False
        with pytest.raises(StoreRefused, match="denies permission") as caught:
            next(verdicts)
        assert not token or token not in str(caught.value)
        with pytest.raises(StoreRefused):
            candidate.wait_elected(5)
        with (
            pytest.raises(StoreRefused),
            Candidate(store, "service/other", "ann", ttl=2.0).leading(5),
        ):
            pass
        if token:  # without one, a key that must not be read looks like one that is not there
            with pytest.raises(StoreRefused):
                Follower(store, "service/leader").wait_leader(5)


@dataclass
class _Account:
    """A user of etcd who may do everything, until it is taken away."""

    etcd: EtcdServer

    def give(self) -> None:
        self.etcd.cli("role", "add", "all")
        self.etcd.cli("role", "grant-permission", "all", "readwrite", "--prefix", "")
        self.etcd.cli("user", "add", "ann:s3cret")
        self.restore()

    def restore(self) -> None:
        self.etcd.cli("user", "grant-role", "ann", "all")

    def revoke(self) -> None:
        self.etcd.cli("user", "revoke-role", "ann", "all")


def test_a_role_revoked_in_mid_term_on_etcd(
    make_fleet: FleetFactory, etcd_server: EtcdFactory, measured: Report
) -> None:
    """What is allowed is renewed: it leads on or stops in time; then it works again."""
    etcd = etcd_server(auth=True)
    account = _Account(etcd)
    account.give()
    fleet = make_fleet(etcd.url, ttl=2.0)
    far = fleet.start("far", url=etcd.url_at(etcd.port, user="ann", password="s3cret"))
    reign = fleet.await_reign(15)
    near = fleet.start("near")
    near.await_event("campaigning", 15)
    time.sleep(0.5)

    account.revoke()
    far.signal(signal.SIGUSR1)  # resigning is a write, which is refused now: its lease has to end
    after = fleet.await_reign(3 * fleet.ttl + 3, after=reign)
    assert after.worker is near
    down = far.await_event("store_down", 5)
    assert "permission" in (down.reason or "")

    account.restore()
    far.await_event("store_up", 10)
    near.stop()
    assert fleet.await_reign(10, after=after).worker is far
    assert "s3cret" not in far.process.tail(1000)
    assert etcd.password not in near.process.tail(1000)
    fleet.finish()


def test_a_token_that_expires_is_not_noticed(
    make_fleet: FleetFactory, etcd_server: EtcdFactory
) -> None:
    """Etcd forgets whom it knows every second, or in a restart: nobody loses anything."""
    etcd = etcd_server(auth=True, auth_token_ttl=1)
    fleet = make_fleet(etcd.url, ttl=4.0)
    fleet.start_all("ann", "ben")
    reign = fleet.await_reign(10)

    time.sleep(3.5)
    assert fleet.await_reign(1).token == reign.token
    assert all(worker.count("store_down") == 0 for worker in fleet.workers)

    etcd.restart()
    time.sleep(2.0)
    assert fleet.await_reign(1).token == reign.token
    reign.worker.stop()
    assert fleet.await_reign(5, after=reign).worker is not reign.worker
    fleet.finish()


def test_a_wrong_password_from_the_start_on_etcd(etcd_server: EtcdFactory) -> None:
    """Whoever waits gets the error that says so, without the password."""
    etcd = etcd_server(auth=True)
    _Account(etcd).give()
    url = etcd.url_at(etcd.port, user="ann", password="wr0ng")
    with open_store(url) as store:
        candidate = Candidate(store, "service/leader", "ann", ttl=2.0)
        verdicts = candidate.run_for_election()
        assert next(verdicts) is False
        with pytest.raises(StoreRefused) as caught:
            next(verdicts)
        assert "wr0ng" not in str(caught.value)
        with pytest.raises(StoreRefused):
            candidate.wait_elected(5)


def test_no_password_on_etcd(make_fleet: FleetFactory, etcd_server: EtcdFactory) -> None:
    """Until 3.6 etcd gives a lease to anybody, but not a key: that is said, and tried again."""
    etcd = etcd_server(release="etcd-3.5.16", auth=True)
    fleet = make_fleet(etcd.url_at(etcd.port, user=""), ttl=2.0)
    ann = fleet.start("ann")

    assert "PASSWORD" in (ann.await_event("store_down", 15).reason or "")
    etcd.cli("auth", "disable")
    etcd.user = ""

    assert fleet.await_reign(10).worker is ann
    fleet.finish()


def test_no_password_on_an_etcd_that_gives_no_lease(etcd_server: EtcdFactory) -> None:
    """From 3.7 on etcd refuses the lease, too, so nothing has ever worked: that is raised."""
    etcd = etcd_server(auth=True)
    with (
        open_store(etcd.url_at(etcd.port, user="")) as store,
        pytest.raises(StoreRefused, match="PASSWORD"),
    ):
        Candidate(store, "service/leader", "ann", ttl=2.0).wait_elected(10)


def test_a_node_that_others_may_not_touch_on_zookeeper(
    make_fleet: FleetFactory, zookeeper: ZooKeeperServer
) -> None:
    """What its owner has locked is refused to the others, who say so and wait until it is open."""
    ann = make_digest_acl("ann", "s3cret", all=True)
    with kazoo_client(zookeeper) as owner:
        owner.add_auth("digest", "ann:s3cret")
        owner.create("/service", acl=[ann])
        url = zookeeper.url_at(zookeeper.port, user="ben", password="wr0ng")
        fleet = make_fleet(url, key="service/leader", ttl=2.0)
        ben = fleet.start("ben")

        assert "permission" in (ben.await_event("store_down", 15).reason or "")
        far = fleet.start(
            "ann", url=zookeeper.url_at(zookeeper.port, user="ann", password="s3cret")
        )
        reign = fleet.await_reign(15)
        assert reign.worker is far
        far.stop()
        time.sleep(0.5)
        assert fleet.reign() is None

        owner.set_acls("/service", [ann, make_digest_acl("ben", "wr0ng", all=True)])
        with suppress(NoNodeError):  # the folder of an election goes with its last candidate
            owner.set_acls("/service/leader", [ann, make_digest_acl("ben", "wr0ng", all=True)])
        assert fleet.await_reign(10, after=reign).worker is ben
        fleet.finish()
    assert "wr0ng" not in ben.process.tail(1000)
    assert "s3cret" not in far.process.tail(1000)
