"""An ACL token that is wrong, is taken away, and works again."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import pytest

from leadership_core import Candidate, Follower, StoreRefused, open_store
from tests.conftest import ConsulFactory
from tests.scenarios.conftest import FleetFactory, Report
from tests.scenarios.diary import now
from tests.servers.consul import ConsulAgent

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
