"""What becomes of a claim when an answer, or a request, is lost on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leadership_consul.claim import ConsulClaim
from leadership_consul.election import LOCK_FLAG, ConsulElection
from leadership_consul.records import Record
from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.budget import budget
from leadership_core.errors import ClaimUnknown, StoreUnavailable
from leadership_core.store import Absent, Leading, Waiting
from tests.conftest import ProxyFactory
from tests.consul.conftest import Opener
from tests.consul.tools import raw, wait_until
from tests.servers.consul import Consul
from tests.servers.proxy import Proxy
from tests.support.machine import at_most


class Far:
    """A candidate behind a link that can be cut, with a key that it has just seen vacant."""

    def __init__(self, link: Proxy, store: ConsulStore, key: str) -> None:
        self.link, self.store, self.key = link, store, key
        self.session = ConsulSession.open(store._client, 10)
        self.election: ConsulElection = store.election(key)
        first = self.election.enter(self.session, b"first")
        self.election.withdraw(first)
        assert self.election.standing(first) == Absent()

    def within(self, seconds: float, work: Callable[[], Any]) -> Callable[[], Any]:
        def limited() -> Any:
            with budget(seconds):
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


def test_a_grant_whose_answer_was_lost_is_found_by_reading_back(
    consul: Consul, far: Far, pool: ThreadPoolExecutor
) -> None:
    """The lock landed, the answer did not: the claim has the token of the write that landed."""
    far.link.cut("down")
    entering = pool.submit(far.within(5, lambda: far.election.enter(far.session, b"Frank")))
    wait_until(lambda: (raw(consul, far.key) or {}).get("Session") == far.session.id)
    far.link.reset()
    far.link.heal()

    claim = entering.result(10)

    found = raw(consul, far.key)
    assert found is not None
    assert (claim.token, claim.settled) == (found["ModifyIndex"], True)
    assert far.election.standing(claim) == Leading(found["ModifyIndex"])


def test_a_grant_that_was_written_over_before_its_answer_is_no_grant(
    consul: Consul, far: Far, pool: ThreadPoolExecutor
) -> None:
    """Even with the same value: the lock is there, and what it says is somebody else's."""
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


def test_a_request_that_was_lost_is_sent_again_with_the_same_guard(
    far: Far, pool: ThreadPoolExecutor
) -> None:
    """Nothing landed: entering goes on within its time, and is granted once."""
    far.link.cut("up")
    entering = pool.submit(far.within(5, lambda: far.election.enter(far.session, b"Frank")))
    before = far.link.count("/v1/txn")
    wait_until(lambda: far.link.count("/v1/txn") > before)
    far.link.reset()
    far.link.heal()

    claim = entering.result(10)

    assert claim.token is not None
    assert far.election.standing(claim) == Leading(claim.token)


def test_entering_without_any_answer_is_unknown_and_in_time(far: Far) -> None:
    """The error carries the claim, which is not settled; it took no longer than the budget."""
    far.link.cut()
    began = time.monotonic()

    with budget(0.6), pytest.raises(ClaimUnknown) as caught:
        far.election.enter(far.session, b"Frank")

    assert time.monotonic() - began < at_most(0.9)
    claim = caught.value.claim
    assert (claim.token, claim.settled) == (None, False)
    assert "Frank" not in str(caught.value)


def test_an_unknown_claim_that_landed_can_be_withdrawn(consul: Consul, far: Far) -> None:
    """Once the link is back, withdrawing frees the key that nobody knew was held."""
    far.link.cut("down")
    with budget(0.5), pytest.raises(ClaimUnknown) as caught:
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


def test_a_request_that_arrives_after_all_is_not_adopted(consul: Consul, far: Far) -> None:
    """It was held back and lands later: the claim is withdrawn, and says to enter again."""
    far.link.cut("up")
    with budget(0.4), pytest.raises(ClaimUnknown) as caught:
        far.election.enter(far.session, b"Frank")
    far.link.heal()  # delivers what was held back
    wait_until(lambda: (raw(consul, far.key) or {}).get("Session") == far.session.id)

    standing = far.election.standing(caught.value.claim)

    assert standing == Absent()
    assert caught.value.claim.settled
    freed = raw(consul, far.key)
    assert freed is not None
    assert "Session" not in freed


def test_a_settled_claim_is_safe_from_its_late_request(
    consul: Consul, store: ConsulStore, far: Far
) -> None:
    """Withdrawing moves the index of the vacant key on, so the held back request is refused."""
    far.link.cut("up")
    with budget(0.4), pytest.raises(ClaimUnknown) as caught:
        far.election.enter(far.session, b"Frank")
    claim = caught.value.claim
    before = raw(consul, far.key)

    store.election(far.key).withdraw(claim)  # by another way than the link that is cut
    sent = far.link.count("/v1/txn")
    far.link.heal()
    far.election.standing(claim)  # comes after what was held back

    after = raw(consul, far.key)
    assert sent > 0
    assert claim.settled
    assert before is not None
    assert after is not None
    assert "Session" not in after
    assert after["ModifyIndex"] > before["ModifyIndex"]
    assert (after["Value"], after["Flags"]) == (before["Value"], before["Flags"])


def test_a_late_request_is_refused_by_a_key_that_was_never_locked_too(
    consul: Consul, store: ConsulStore, far: Far
) -> None:
    """Consul leaves the index alone where a write changes nothing; settling moves it all the same."""
    consul.request("PUT", f"/v1/kv/{far.key}?flags={LOCK_FLAG}", "new")
    idle = ConsulClaim(far.key, far.session, b"")
    assert far.election.standing(idle) == Absent()
    far.link.cut("up")
    with budget(0.4), pytest.raises(ClaimUnknown) as caught:
        far.election.enter(far.session, b"Frank")

    store.election(far.key).withdraw(caught.value.claim)
    far.link.heal()
    far.election.standing(caught.value.claim)

    found = raw(consul, far.key)
    assert found is not None
    assert "Session" not in found
    assert found["ModifyIndex"] != caught.value.claim.guard  # type: ignore[attr-defined]


def test_withdrawing_is_confirmed_although_its_answer_was_lost(
    consul: Consul, far: Far, pool: ThreadPoolExecutor
) -> None:
    """It reads back that the key is free."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    withdrawing = pool.submit(far.within(5, lambda: far.election.withdraw(claim)))
    wait_until(lambda: "Session" not in (raw(consul, far.key) or {"Session": ""}))
    far.link.reset()
    far.link.heal()

    withdrawing.result(10)

    assert claim.settled
    assert claim.withdrawn


def test_withdrawing_again_after_no_answer_at_all(
    far: Far, store: ConsulStore, rival: ConsulSession
) -> None:
    """The first call gave up; meanwhile another one leads, whom the second call leaves alone."""
    claim = far.election.enter(far.session, b"Frank")
    far.link.cut("down")
    with budget(0.4), pytest.raises(StoreUnavailable):
        far.election.withdraw(claim)
    other = store.election(far.key).enter(rival, b"Claire")
    assert other.token is not None
    far.link.reset()
    far.link.heal()

    far.election.withdraw(claim)

    assert store.election(far.key).standing(other) == Leading(other.token)
    assert far.election.standing(claim) == Waiting()


def test_a_renewal_without_an_answer_says_nothing_of_the_session(far: Far) -> None:
    """It ends in time, and the next one, over a new connection, finds the session alive."""
    far.link.cut("down")
    began = time.monotonic()
    with budget(0.3), pytest.raises(StoreUnavailable, match=r"within 0\.30 s"):
        far.session.renew()
    assert time.monotonic() - began < at_most(0.6)
    far.link.heal()

    assert far.session.renew() == 10


def test_closing_the_store_cuts_off_a_call_that_hangs(far: Far) -> None:
    """Whoever is waiting for an answer gets an error at once."""
    far.link.cut("down")
    before = far.link.count("renew")
    ended = threading.Event()

    def renew() -> None:
        with budget(30), pytest.raises(Exception, match="cut off"):
            far.session.renew()
        ended.set()

    thread = threading.Thread(target=renew)
    thread.start()
    wait_until(lambda: far.link.count("renew") > before)

    far.store.close()

    assert ended.wait(2)
    thread.join()


def test_withdrawing_an_unknown_claim_leaves_who_came_in_between(
    far: Far, store: ConsulStore, rival: ConsulSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key was vacant when it was looked at, and is somebody's when the request arrives."""
    far.link.cut("up")
    with budget(0.4), pytest.raises(ClaimUnknown) as caught:
        far.election.enter(far.session, b"Frank")
    far.link.reset()  # what was held back never comes
    far.link.heal()
    other, came = store.election(far.key), list[ConsulClaim]()
    look = far.election._client.read

    def read(key: str) -> Record | None:
        found = look(key)
        if not came:
            came.append(other.enter(rival, b"Claire"))
        return found

    monkeypatch.setattr(far.election._client, "read", read)

    far.election.withdraw(caught.value.claim)

    assert caught.value.claim.settled
    assert other.standing(came[0]) == Leading(came[0].token or 0)
