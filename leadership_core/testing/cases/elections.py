"""Cases of the election protocol: enter, status, watch_claim, withdraw."""

from __future__ import annotations

import time

from ...backend.claim_record import claim_key
from ...backend.entries import Entry
from ...backend.protocols import Leading, Waiting
from ...errors import SessionLost
from ..manual_candidate import ManualCandidate
from ..sandbox import Sandbox
from .assertions import is_equal

__all__ = ["ElectionCases", "claims_of", "remove_claims", "wrongly_leads"]

_MOMENT = 0.15  # seconds for something that must not happen


def wrongly_leads(manual: ManualCandidate) -> bool:
    """Return whether a claim that must not lead is reported as leading."""
    try:
        return isinstance(manual.status(), Leading)
    except SessionLost:
        return False


class ElectionCases:
    """Which claim leads, which ones wait, and which are woken."""

    def test_first_claim_leads(self, sandbox: Sandbox) -> None:
        """Its token is above 0 and stays the same for as long as it leads."""
        key = sandbox.key("leader")
        first = ManualCandidate(sandbox, key, b"first")
        assert first.leads(), f"the only candidate does not lead: {first.status()}"
        assert isinstance(first.token, int), f"the token is no int: {first.token!r}"
        assert first.token > 0, f"the token is {first.token}"
        for _ in range(3):
            is_equal(first.status(), Leading(first.token), "its status")
        found = sandbox.open().leader(key)
        assert found is not None, "no leader, as another connection sees it"
        is_equal((found.value, found.token), ("first", first.token), "the leader")

    def test_granted_claim_leads(self, sandbox: Sandbox) -> None:
        """`status` confirms what `enter` returned, including the token."""
        manual = ManualCandidate(sandbox, sandbox.key("leader"))
        claim = manual.enter()
        if claim.granted:
            assert claim.token, f"a claim was granted with the token {claim.token}"
            is_equal(manual.status(), Leading(claim.token), "its status")
        assert claim.session is manual.session, "the claim names another session"
        is_equal((claim.value, claim.settled), (manual.value, True), "value and settled")

    def test_second_claim_waits_and_is_woken(self, sandbox: Sandbox) -> None:
        """It does not lead while the first does; it is woken when the first leaves, and leads then."""
        key = sandbox.key("leader")
        first, second = ManualCandidate(sandbox, key), ManualCandidate(sandbox, key)
        assert first.leads(), "the first candidate does not lead"
        assert second.waits(), f"the second does not wait: {second.status()}"
        assert not second.claim.granted, "a claim was granted while another one leads"
        time.sleep(_MOMENT)
        assert second.waits(), f"the second does not wait: {second.status()}"
        is_equal(first.status(), Leading(first.token), "the status of the first claim")

        assert second.is_woken(first.withdraw), "the second was not woken when the first left"
        assert second.leads(), f"the second does not lead: {second.status()}"
        assert second.token > first.token, f"tokens {first.token} and then {second.token}"
        assert not wrongly_leads(first), "the first leads although it has withdrawn"

    def test_one_of_many_claims_leads_at_a_time(self, sandbox: Sandbox) -> None:
        """Of six claims exactly one leads, and when it leaves exactly one of the others."""
        key, store = sandbox.key("leader"), sandbox.open()
        waiting = [ManualCandidate(sandbox, key, b"%d" % n, store=store) for n in range(6)]
        for manual in waiting:
            manual.enter()
        token = 0
        while waiting:
            assert sandbox.eventually(lambda: any(one.leads(0.03) for one in waiting)), (
                f"none of {len(waiting)} candidates leads: {[w.status() for w in waiting]}"
            )
            (leader, *others) = [one for one in waiting if wrongly_leads(one)]
            is_equal(others, [], "further leaders")
            leader.leads()
            assert leader.token > token, f"the token {leader.token} after {token}"
            token = leader.token
            waiting.remove(leader)
            leader.withdraw()

    def test_withdraw_is_idempotent_and_harmless_when_late(self, sandbox: Sandbox) -> None:
        """It may be repeated, even in the next term of another session or of the same one."""
        key = sandbox.key("leader")
        first, second = ManualCandidate(sandbox, key), ManualCandidate(sandbox, key)
        assert first.leads(), "the first candidate does not lead"
        old = first.claim
        for _ in range(3):
            first.election.withdraw(old)
        assert old.settled, "a claim that was withdrawn is not settled"

        assert second.leads(), "the second does not lead after the first has left"
        first.election.withdraw(old)
        is_equal(second.status(), Leading(second.token), "the second, after a late withdrawal")
        second.withdraw()

        first.enter()
        assert first.leads(), "the first does not lead in its second term"
        first.election.withdraw(old)
        is_equal(first.status(), Leading(first.token), "a term of the same session, after that")
        assert first.claim is not old, "a session that enters again got the same claim"

    def test_waiting_claim_can_be_withdrawn(self, sandbox: Sandbox) -> None:
        """It never leads afterwards, the leader is not disturbed, and another claim is next."""
        key = sandbox.key("leader")
        first, second, third = (ManualCandidate(sandbox, key) for _ in range(3))
        assert first.leads(), "the first candidate does not lead"
        assert second.waits(), "the second candidate does not wait"
        assert third.waits(), "the third candidate does not wait"
        second.withdraw()
        second.withdraw()
        is_equal(first.status(), Leading(first.token), "the leader, after one that waited left")
        assert third.waits(), "the third does not wait any more"

        first.withdraw()
        assert third.leads(), f"the third does not lead: {third.status()}"
        assert not wrongly_leads(second), "one that has left leads"
        third.withdraw()
        time.sleep(_MOMENT)
        is_equal(sandbox.store.leader(key), None, "the leader when all have left")
        assert not wrongly_leads(second), "one that has left leads"

    def test_claims_with_the_same_value_are_two_claims(self, sandbox: Sandbox) -> None:
        """Two programs of one name do not lead together, nor withdraw each other's claim."""
        key = sandbox.key("leader")
        first, second = (
            ManualCandidate(sandbox, key, b"same"),
            ManualCandidate(sandbox, key, b"same"),
        )
        assert first.leads(), "the first candidate does not lead"
        assert second.waits(), f"the second of the same name: {second.status()}"
        second.withdraw()
        is_equal(first.status(), Leading(first.token), "the leader")
        second.enter()
        first.withdraw()
        assert second.leads(), "the second of the same name does not lead"
        first.withdraw()
        is_equal(second.status(), Leading(second.token), "after a late withdrawal of the other")

    def test_elections_with_nested_keys_are_independent(self, sandbox: Sandbox) -> None:
        """Those of a, a/b, ab and a/b/c each have a leader, and each hand over by itself."""
        top, store = sandbox.key(), sandbox.open()
        keys = [f"{top}/a", f"{top}/a/b", f"{top}/ab", f"{top}/a/b/c", f"{top}/a/0123abcd"]
        leaders = [ManualCandidate(sandbox, key, key.encode(), store=store) for key in keys]
        for leader in leaders:
            assert leader.leads(), f"{leader.value!r} does not lead: {leader.status()}"
        for key, leader in zip(keys, leaders, strict=True):
            found = sandbox.store.leader(key)
            is_equal(found and (found.value, found.token), (key, leader.token), f"leader of {key}")
        leaders[0].withdraw()
        is_equal(sandbox.store.leader(keys[0]), None, "the leader of a, which has left")
        for leader in leaders[1:]:
            is_equal(leader.status(), Leading(leader.token), f"{leader.value!r} after that")
        leaders[1].withdraw()
        for leader in leaders[2:]:
            is_equal(leader.status(), Leading(leader.token), f"{leader.value!r} after that")

    def test_one_session_can_enter_many_elections(self, sandbox: Sandbox) -> None:
        """It leads all of twenty, and leaving one of them does not end the others."""
        store, top = sandbox.open(), sandbox.key()
        session = sandbox.session(store)
        entered = [
            ManualCandidate(sandbox, f"{top}/{n}", b"%d" % n, store=store, session=session)
            for n in range(20)
        ]
        for one in entered:
            assert one.leads(), f"election {one.value!r}: {one.status()}"
        for one in entered[::2]:
            one.withdraw()
        for one in entered[1::2]:
            is_equal(one.status(), Leading(one.token), f"election {one.value!r}")
        for number in range(20):
            found = sandbox.store.leader(f"{top}/{number}")
            is_equal(
                found and found.value, str(number) if number % 2 else None, f"election {number}"
            )

    def test_entries_below_the_key_do_not_disturb_an_election(self, sandbox: Sandbox) -> None:
        """Entries that a program keeps below the election's key are no claims."""
        key = sandbox.key("leader")
        for name in ("data", "0", "zzz/deep"):
            sandbox.store.put(f"{key}/{name}", b"data of a program")
        first, second = ManualCandidate(sandbox, key), ManualCandidate(sandbox, key)
        assert first.leads(), f"it does not lead beside data: {first.status()}"
        assert second.waits(), f"the second: {second.status()}"
        sandbox.store.put(f"{key}/data", b"changed")
        first.withdraw()
        assert second.leads(), f"the second does not lead beside data: {second.status()}"

    def test_claim_watch_is_silent_after_close(self, sandbox: Sandbox) -> None:
        """Closing it again is harmless, and another watch of the claim goes on."""
        key = sandbox.key("leader")
        first, second = ManualCandidate(sandbox, key), ManualCandidate(sandbox, key)
        assert first.leads(), "the first candidate does not lead"
        assert second.waits(), "the second candidate does not wait"
        woken = list[float]()
        watch = second.election.watch_claim(second.claim, lambda: woken.append(time.monotonic()))
        watch.close()
        watch.close()
        reported = len(woken)
        assert second.is_woken(first.withdraw), "the other watch of the claim was closed, too"
        time.sleep(_MOMENT)
        is_equal(len(woken), reported, "wakes of a closed watch")

    def test_leader_is_woken_when_its_claim_is_deleted(self, sandbox: Sandbox) -> None:
        """It is woken, and its status is not Leading any more."""
        key = sandbox.key("leader")
        leader = ManualCandidate(sandbox, key)
        assert leader.leads(), "the only candidate does not lead"
        is_equal(leader.status(), Leading(leader.token), "its status")
        assert leader.is_woken(lambda: remove_claims(sandbox, key)), (
            "the leader was not woken by its loss"
        )
        assert sandbox.eventually(lambda: not wrongly_leads(leader)), "it leads without a claim"
        assert not isinstance(leader.status(), Waiting), "it waits although there is no leader"
        before = leader.token
        leader.enter()
        assert leader.leads(), f"it does not lead again: {leader.status()}"
        assert leader.token > before, f"tokens {before} and then {leader.token}"


def remove_claims(sandbox: Sandbox, key: str) -> None:
    """Delete the key and the claims below it, as an operator does to force another leader."""
    sandbox.store.delete(key)
    for entry in claims_of(sandbox, key):
        sandbox.store.delete(entry.key)


def claims_of(sandbox: Sandbox, key: str) -> list[Entry]:
    """Return the entries that are claims of the election of this key."""
    found = [sandbox.store.get(key), *sandbox.store.list(key)]
    return [
        entry
        for entry in found
        if entry is not None and (entry.session is not None or entry.key == claim_key(key))
    ]
