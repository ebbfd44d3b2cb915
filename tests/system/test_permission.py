"""Tokens and passwords that are wrong, revoked, and valid again."""

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
from tests.support.admin_tools import kazoo_client
from tests.support.servers.consul import ConsulAgent
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.zookeeper import ZooKeeperServer
from tests.system.conftest import FleetFactory, Report

_RULES = 'key_prefix "" { policy = "write" } session_prefix "" { policy = "write" }'


@dataclass
class Right:
    """An ACL token with the permissions that a candidate needs."""

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


@pytest.mark.parametrize("token", ["", str(uuid.uuid4())], ids=["none", "unknown"])
def test_wrong_token_is_raised_to_waiters_on_consul(
    token: str, consul_server: ConsulFactory
) -> None:
    """A waiter gets the error, without the token."""
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
    """A user of etcd with all permissions, until its role is revoked."""

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


def test_revoked_role_ends_leadership_in_time_on_etcd(
    make_fleet: FleetFactory, etcd_server: EtcdFactory, measured: Report
) -> None:
    """The leader leads on as long as renewals are allowed, or stops in time; later it works again."""
    etcd = etcd_server(auth=True)
    account = _Account(etcd)
    account.give()
    fleet = make_fleet(etcd.url, ttl=2.0)
    far = fleet.start("far", url=etcd.url_at(etcd.port, user="ann", password="s3cret"))
    leader = fleet.await_leader(15)
    near = fleet.start("near")
    near.await_event("campaigning", 15)
    time.sleep(0.5)

    account.revoke()
    far.signal(signal.SIGUSR1)  # resigning is a write, which is refused now: its lease has to end
    after = fleet.await_leader(3 * fleet.ttl + 3, after=leader)
    assert after.worker is near
    down = far.await_event("store_down", 5)
    assert "permission" in (down.reason or "")

    account.restore()
    far.await_event("store_up", 10)
    near.stop()
    assert fleet.await_leader(10, after=after).worker is far
    assert "s3cret" not in far.process.tail(1000)
    assert etcd.password not in near.process.tail(1000)
    fleet.finish()


def test_wrong_password_is_raised_to_waiters_on_etcd(etcd_server: EtcdFactory) -> None:
    """A waiter gets the error, without the password."""
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


def test_missing_password_is_reported_and_retried_on_etcd_3_5(
    make_fleet: FleetFactory, etcd_server: EtcdFactory
) -> None:
    """Before 3.6 etcd grants a lease without a password, but no key: that is reported and retried."""
    etcd = etcd_server(release="etcd-3.5.16", auth=True)
    fleet = make_fleet(etcd.url_at(etcd.port, user=""), ttl=2.0)
    ann = fleet.start("ann")

    assert "PASSWORD" in (ann.await_event("store_down", 15).reason or "")
    etcd.cli("auth", "disable")
    etcd.user = ""

    assert fleet.await_leader(10).worker is ann
    fleet.finish()


def test_missing_password_is_raised_on_etcd_3_7(etcd_server: EtcdFactory) -> None:
    """Since 3.7 etcd refuses the lease, too, so the store has never worked, and the error is raised."""
    etcd = etcd_server(auth=True)
    with (
        open_store(etcd.url_at(etcd.port, user="")) as store,
        pytest.raises(StoreRefused, match="PASSWORD"),
    ):
        Candidate(store, "service/leader", "ann", ttl=2.0).wait_elected(10)


def test_node_with_foreign_acl_is_reported_and_retried_on_zookeeper(
    make_fleet: FleetFactory, zookeeper: ZooKeeperServer
) -> None:
    """Other candidates report the refusal, and wait until the node is accessible."""
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
        leader = fleet.await_leader(15)
        assert leader.worker is far
        far.stop()
        time.sleep(0.5)
        assert fleet.leader() is None

        owner.set_acls("/service", [ann, make_digest_acl("ben", "wr0ng", all=True)])
        with suppress(NoNodeError):  # the folder of an election goes with its last candidate
            owner.set_acls("/service/leader", [ann, make_digest_acl("ben", "wr0ng", all=True)])
        assert fleet.await_leader(10, after=leader).worker is ben
        fleet.finish()
    assert "wr0ng" not in ben.process.tail(1000)
    assert "s3cret" not in far.process.tail(1000)
