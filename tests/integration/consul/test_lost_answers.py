"""Claims and sessions whose request or answer is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leadership_consul.claim import ConsulClaim
from leadership_consul.client import Client
from leadership_consul.election import LOCK_FLAG, ConsulElection
from leadership_consul.responses import KeyValue
from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import Absent, ClaimOutcomeUnknown, Leading, Waiting
from leadership_core.errors import NotApplied, StoreUnavailable
from tests.conftest import ProxyFactory
from tests.integration.consul.conftest import Opener
from tests.integration.consul.tools import raw
from tests.support.consul_proxy import ConsulProxy
from tests.support.servers.consul import Consul
from tests.support.servers.proxy import Proxy
from tests.support.waiting import at_most, wait_until


class Far:
    """A candidate behind a link that can be cut, and an unlocked key that it has just read."""

    def __init__(self, link: Proxy, store: ConsulStore, key: str) -> None:
        self.link, self.store, self.key = link, store, key
        self.session = store.open_session(10)
        self.election: ConsulElection = store.election(key)
        first = self.election.enter(self.session, b"first")
        self.election.withdraw(first)
        assert self.election.status(first) == Absent()

    def within(self, seconds: float, work: Callable[[], Any]) -> Callable[[], Any]:
        def limited() -> Any:
            with call_timeout(seconds):
                return work()

        return limited


@pytest.fixture
def far(consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str) -> Far:
    link = proxy(consul.port)
    return Far(link, opened(consul.url_at(link.port)), unique_key)


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_grant_without_an_answer_is_read_back(
    consul: Consul, far: Far, pool: ThreadPoolExecutor
) -> None:
    """The claim has the token of the write that took effect."""
    far.link.cut("down")
    entering = pool.submit(far.within(5, lambda: far.election.enter(far.session, b"Frank")))
    wait_until(lambda: (raw(consul, far.key) or {}).get("Session") == far.session.id)
    far.link.reset()
    far.link.heal()

    claim = entering.result(10)

    found = raw(consul, far.key)
    assert found is not None
    assert (claim.token, claim.settled) == (found["ModifyIndex"], True)
    assert far.election.status(claim) == Leading(found["ModifyIndex"])


def test_overwritten_grant_without_an_answer_is_no_grant(
    consul: Consul, far: Far, pool: ThreadPoolExecutor
) -> None:
    """The key is locked, even with the same value, but the claim has not written it."""
    far.link.cut("down")
    entering = pool.submit(far.within(5, lambda: far.election.enter(far.session, b"Frank")))
    wait_until(lambda: (raw(consul, far.key) or {}).get("Session") == far.session.id)
    consul.cli("kv", "put", "-flags", str(LOCK_FLAG), far.key, "Frank")
    far.link.reset()
    far.link.heal()

    claim = entering.result(10)

    assert (claim.token, claim.settled) == (None, True)
    found = raw(consul, far.key)
    assert found is not None
    assert "Session" not in found


def test_lost_enter_request_is_sent_again_with_the_same_guard(
    far: Far, pool: ThreadPoolExecutor
) -> None:
    """Nothing took effect: `enter` continues within its time, and is granted once."""
    far.link.cut("up")
    entering = pool.submit(far.within(5, lambda: far.election.enter(far.session, b"Frank")))
    before = far.link.count("/v1/txn")
    wait_until(lambda: far.link.count("/v1/txn") > before)
    far.link.reset()
    far.link.heal()

    claim = entering.result(10)

    assert claim.token is not None
    assert far.election.status(claim) == Leading(claim.token)


def test_enter_without_an_answer_is_unknown_in_time(far: Far) -> None:
    """The error carries the claim, which is not settled; the call keeps to its timeout."""
    far.link.cut()
    began = time.monotonic()

    with call_timeout(0.6), pytest.raises(ClaimOutcomeUnknown) as caught:
        far.election.enter(far.session, b"Frank")

    assert time.monotonic() - began < at_most(0.9)
    claim = caught.value.claim
    assert (claim.token, claim.settled) == (None, False)
    assert "Frank" not in str(caught.value)


def test_withdraw_of_an_unknown_claim_releases_its_lock(consul: Consul, far: Far) -> None:
    """The key was locked without an answer, and is unlocked once the link works again."""
    far.link.cut("down")
    with call_timeout(0.5), pytest.raises(ClaimOutcomeUnknown) as caught:
        far.election.enter(far.session, b"Frank")
    claim = caught.value.claim
    held = raw(consul, far.key)
    assert held is not None
    assert held["Session"] == far.session.id
    far.link.heal()

    far.election.withdraw(claim)

    assert claim.settled
    freed = raw(consul, far.key)
    assert freed is not None
    assert "Session" not in freed


def test_late_grant_is_not_adopted(consul: Consul, far: Far) -> None:
    """A held request locks the key later: the claim is withdrawn, and `status` is absent."""
    far.link.cut("up")
    with call_timeout(0.4), pytest.raises(ClaimOutcomeUnknown) as caught:
        far.election.enter(far.session, b"Frank")
    far.link.heal()  # delivers the held request
    wait_until(lambda: (raw(consul, far.key) or {}).get("Session") == far.session.id)

    status = far.election.status(caught.value.claim)

    assert status == Absent()
    assert caught.value.claim.settled
    freed = raw(consul, far.key)
    assert freed is not None
    assert "Session" not in freed


def test_late_request_of_a_settled_claim_is_refused(
    consul: Consul, store: ConsulStore, far: Far
) -> None:
    """`withdraw` changes the index of the unlocked key, so the held request is refused."""
    far.link.cut("up")
    with call_timeout(0.4), pytest.raises(ClaimOutcomeUnknown) as caught:
        far.election.enter(far.session, b"Frank")
    claim = caught.value.claim
    before = raw(consul, far.key)

    store.election(far.key).withdraw(claim)  # with another connection than the one that is cut
    sent = far.link.count("/v1/txn")
    far.link.heal()
    far.election.status(claim)  # arrives after the held request

    after = raw(consul, far.key)
    assert sent > 0
    assert claim.settled
    assert before is not None
    assert after is not None
    assert "Session" not in after
    assert after["ModifyIndex"] > before["ModifyIndex"]
    assert (after["Value"], after["Flags"]) == (before["Value"], before["Flags"])


def test_late_request_is_refused_by_a_never_locked_key(
    consul: Consul, store: ConsulStore, far: Far
) -> None:
    """Consul keeps the index if a write changes nothing, but `withdraw` always changes it."""
    consul.request("PUT", f"/v1/kv/{far.key}?flags={LOCK_FLAG}", "new")
    idle = ConsulClaim(far.key, far.session, b"")
    assert far.election.status(idle) == Absent()
    far.link.cut("up")
    with call_timeout(0.4), pytest.raises(ClaimOutcomeUnknown) as caught:
        far.election.enter(far.session, b"Frank")

    store.election(far.key).withdraw(caught.value.claim)
    far.link.heal()
    far.election.status(caught.value.claim)

    found = raw(consul, far.key)
    assert found is not None
    assert "Session" not in found
    assert found["ModifyIndex"] != caught.value.claim.guard  # type: ignore[attr-defined]


def test_withdraw_without_an_answer_is_read_back(
    consul: Consul, far: Far, pool: ThreadPoolExecutor
) -> None:
    """It reads that the key is unlocked."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    withdrawing = pool.submit(far.within(5, lambda: far.election.withdraw(claim)))
    wait_until(lambda: "Session" not in (raw(consul, far.key) or {"Session": ""}))
    far.link.reset()
    far.link.heal()

    withdrawing.result(10)

    assert claim.settled
    assert claim.withdrawn


def test_second_withdraw_keeps_the_next_leader(
    far: Far, store: ConsulStore, rival: ConsulSession
) -> None:
    """The first call got no answer; the next leader is not affected by the second call."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    with call_timeout(0.4), pytest.raises(StoreUnavailable):
        far.election.withdraw(claim)
    other = store.election(far.key).enter(rival, b"Claire")
    assert other.token is not None
    far.link.reset()
    far.link.heal()

    far.election.withdraw(claim)

    assert store.election(far.key).status(other) == Leading(other.token)
    assert far.election.status(claim) == Waiting()


def test_renew_without_an_answer_does_not_end_the_session(far: Far) -> None:
    """It ends in time, and the next one, on a new connection, finds the session alive."""
    far.link.cut("down")
    began = time.monotonic()
    with call_timeout(0.3), pytest.raises(StoreUnavailable, match=r"within 0\.30 s"):
        far.session.renew()
    assert time.monotonic() - began < at_most(0.6)
    far.link.heal()

    assert far.session.renew() == 10


def test_close_aborts_a_call_under_way(far: Far) -> None:
    """The call raises at once."""
    far.link.cut("down")
    before = far.link.count("renew")
    ended = threading.Event()

    def renew() -> None:
        with call_timeout(30), pytest.raises(Exception, match="cut off"):
            far.session.renew()
        ended.set()

    thread = threading.Thread(target=renew)
    thread.start()
    wait_until(lambda: far.link.count("renew") > before)

    far.store.close()

    assert ended.wait(2)
    thread.join()


def test_withdraw_of_an_unknown_claim_keeps_a_leader_since_its_read(
    far: Far, store: ConsulStore, rival: ConsulSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key was unlocked when it was read, and another claim locks it before the request."""
    far.link.cut("up")
    with call_timeout(0.4), pytest.raises(ClaimOutcomeUnknown) as caught:
        far.election.enter(far.session, b"Frank")
    far.link.reset()  # the held request never arrives
    far.link.heal()
    other, came = store.election(far.key), list[ConsulClaim]()
    original, entered = Client.read, threading.Event()

    def read(client: Client, key: str) -> KeyValue | None:
        found = original(client, key)
        if not entered.is_set():
            entered.set()
            came.append(other.enter(rival, b"Claire"))
        return found

    monkeypatch.setattr(Client, "read", read)

    far.election.withdraw(caught.value.claim)

    assert caught.value.claim.settled
    assert other.status(came[0]) == Leading(came[0].token or 0)


def test_enter_refused_by_an_overloaded_gateway_is_not_applied(
    consul: Consul, opened: Opener, unique_key: str
) -> None:
    """There is no claim to withdraw, and the same session may enter again at once."""
    with ConsulProxy(consul) as front:
        store = opened(consul.url_at(front.port))
        session, election = store.open_session(10), store.election(unique_key)
        front.begin()
        with call_timeout(1.0), pytest.raises(NotApplied):
            election.enter(session, b"Frank")

        front.end()
        assert election.enter(session, b"Frank").granted
        session.close()
        store.close()
