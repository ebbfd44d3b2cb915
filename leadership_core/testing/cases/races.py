"""One race, as the engine runs it: enter, standing, on_turn, withdraw."""

from __future__ import annotations

import time

from ...errors import SessionLost
from ...store import Leading, Waiting
from ..contender import Contender
from ..lab import Lab
from .expectations import is_equal

__all__ = ["RaceCases", "hardly_leads"]

_MOMENT = 0.15  # seconds for something that must not happen


def hardly_leads(contender: Contender) -> bool:
    """Whether a claim that must not lead does: what only a phantom says yes to."""
    try:
        return isinstance(contender.standing(), Leading)
    except SessionLost:
        return False


class RaceCases:
    """Who leads, who waits, and who is told."""

    def test_the_first_to_enter_leads(self, lab: Lab) -> None:
        """With a token above 0, which stays the same for as long as it leads."""
        key = lab.key("leader")
        first = Contender(lab, key, b"first")
        assert first.leads(), f"nobody else stands, and it does not lead: {first.standing()}"
        assert isinstance(first.token, int), f"the token is no int: {first.token!r}"
        assert first.token > 0, f"the token is {first.token}"
        for _ in range(3):
            is_equal(first.standing(), Leading(first.token), "its standing")
        found = lab.open().leader(key)
        assert found is not None, "no leader, as another connection sees it"
        is_equal((found.value, found.token), ("first", first.token), "the leader")

    def test_a_granted_claim_leads(self, lab: Lab) -> None:
        """What enter says of a claim at once is what its standing says, token and all."""
        contender = Contender(lab, lab.key("leader"))
        claim = contender.enter()
        if claim.granted:
            assert claim.token, f"a claim was granted with the token {claim.token}"
            is_equal(contender.standing(), Leading(claim.token), "its standing")
        assert claim.session is contender.session, "the claim names another session"
        is_equal((claim.value, claim.settled), (contender.value, True), "value and settled")

    def test_the_second_waits_and_is_woken(self, lab: Lab) -> None:
        """It does not lead while the first does; it is told when that one leaves, and leads then."""
        key = lab.key("leader")
        first, second = Contender(lab, key), Contender(lab, key)
        assert first.leads(), "the first contender leads"
        assert second.waits(), f"the second does not wait: {second.standing()}"
        assert not second.claim.granted, "a claim was granted while another one leads"
        time.sleep(_MOMENT)
        assert second.waits(), f"the second does not wait: {second.standing()}"
        is_equal(first.standing(), Leading(first.token), "the first one's standing")

        assert second.is_woken(first.withdraw), "the second was not told that the first has left"
        assert second.leads(), f"the second does not lead: {second.standing()}"
        assert second.token > first.token, f"tokens {first.token} and then {second.token}"
        assert not hardly_leads(first), "the first leads although it has withdrawn"

    def test_one_of_many_leads_and_then_the_next(self, lab: Lab) -> None:
        """Of six that stand exactly one leads, and when it leaves exactly one of the others."""
        key, store = lab.key("leader"), lab.open()
        waiting = [Contender(lab, key, b"%d" % n, store=store) for n in range(6)]
        for contender in waiting:
            contender.enter()
        token = 0
        while waiting:
            assert lab.eventually(lambda: any(one.leads(0.03) for one in waiting)), (
                f"nobody leads although {len(waiting)} stand: {[w.standing() for w in waiting]}"
            )
            (leader, *others) = [one for one in waiting if hardly_leads(one)]
            is_equal(others, [], "further leaders")
            leader.leads()
            assert leader.token > token, f"the token {leader.token} after {token}"
            token = leader.token
            waiting.remove(leader)
            leader.withdraw()

    def test_withdrawing_is_idempotent_and_harmless_when_late(self, lab: Lab) -> None:
        """Again and again, also in the next term: of another session, or of the same one."""
        key = lab.key("leader")
        first, second = Contender(lab, key), Contender(lab, key)
        assert first.leads(), "the first contender leads"
        old = first.claim
        for _ in range(3):
            first.election.withdraw(old)
        assert old.settled, "a claim that was withdrawn is not settled"

        assert second.leads(), "the second does not lead after the first has left"
        first.election.withdraw(old)
        is_equal(second.standing(), Leading(second.token), "the second, after a late withdrawal")
        second.withdraw()

        first.enter()
        assert first.leads(), "the first does not lead in its second term"
        first.election.withdraw(old)
        is_equal(first.standing(), Leading(first.token), "a term of the same session, after that")
        assert first.claim is not old, "a session that enters again got the same claim"

    def test_one_that_waits_can_leave(self, lab: Lab) -> None:
        """It never leads afterwards, the leader is not disturbed, and somebody else is next."""
        key = lab.key("leader")
        first, second, third = (Contender(lab, key) for _ in range(3))
        assert first.leads(), "the first contender leads"
        assert second.waits(), "the second contender waits"
        assert third.waits(), "the third contender waits"
        second.withdraw()
        second.withdraw()
        is_equal(first.standing(), Leading(first.token), "the leader, after one that waited left")
        assert third.waits(), "the third does not wait any more"

        first.withdraw()
        assert third.leads(), f"the third does not lead: {third.standing()}"
        assert not hardly_leads(second), "one that has left leads"
        third.withdraw()
        time.sleep(_MOMENT)
        is_equal(lab.store.leader(key), None, "the leader when all have left")
        assert not hardly_leads(second), "one that has left leads"

    def test_the_same_value_twice_is_two_holders(self, lab: Lab) -> None:
        """Two programs with one name do not lead together, nor take each other's claim away."""
        key = lab.key("leader")
        first, second = Contender(lab, key, b"same"), Contender(lab, key, b"same")
        assert first.leads(), "the first contender leads"
        assert second.waits(), f"the second of the same name: {second.standing()}"
        second.withdraw()
        is_equal(first.standing(), Leading(first.token), "the leader")
        second.enter()
        first.withdraw()
        assert second.leads(), "the second of the same name does not lead"
        first.withdraw()
        is_equal(second.standing(), Leading(second.token), "after a late withdrawal of the other")

    def test_elections_do_not_see_each_other(self, lab: Lab) -> None:
        """Those of a, a/b, ab and a/b/c all have a leader, and each passes on by itself."""
        top, store = lab.key(), lab.open()
        keys = [f"{top}/a", f"{top}/a/b", f"{top}/ab", f"{top}/a/b/c", f"{top}/a/0123abcd"]
        leaders = [Contender(lab, key, key.encode(), store=store) for key in keys]
        for leader in leaders:
            assert leader.leads(), f"{leader.value!r} does not lead: {leader.standing()}"
        for key, leader in zip(keys, leaders, strict=True):
            found = lab.store.leader(key)
            is_equal(found and (found.value, found.token), (key, leader.token), f"leader of {key}")
        leaders[0].withdraw()
        is_equal(lab.store.leader(keys[0]), None, "the leader of a, which has left")
        for leader in leaders[1:]:
            is_equal(leader.standing(), Leading(leader.token), f"{leader.value!r} after that")
        leaders[1].withdraw()
        for leader in leaders[2:]:
            is_equal(leader.standing(), Leading(leader.token), f"{leader.value!r} after that")

    def test_one_session_stands_in_many_races(self, lab: Lab) -> None:
        """It leads all of twenty, and leaving one does not end the others."""
        store, top = lab.open(), lab.key()
        session = lab.session(store)
        races = [
            Contender(lab, f"{top}/{n}", b"%d" % n, store=store, session=session) for n in range(20)
        ]
        for race in races:
            assert race.leads(), f"race {race.value!r}: {race.standing()}"
        for race in races[::2]:
            race.withdraw()
        for race in races[1::2]:
            is_equal(race.standing(), Leading(race.token), f"race {race.value!r}")
        for number in range(20):
            found = lab.store.leader(f"{top}/{number}")
            is_equal(found and found.value, str(number) if number % 2 else None, f"race {number}")

    def test_data_beside_a_race_do_not_disturb_it(self, lab: Lab) -> None:
        """What a program keeps below or beside the election's key is no claim."""
        key = lab.key("leader")
        for name in ("data", "0", "zzz/deep"):
            lab.store.put(f"{key}/{name}", b"data of somebody")
        first, second = Contender(lab, key), Contender(lab, key)
        assert first.leads(), f"it does not lead beside data: {first.standing()}"
        assert second.waits(), f"the second: {second.standing()}"
        lab.store.put(f"{key}/data", b"changed")
        first.withdraw()
        assert second.leads(), f"the second does not lead beside data: {second.standing()}"

    def test_wakes_end_with_their_watch(self, lab: Lab) -> None:
        """A closed one is silent; closing it again is harmless; another one of the claim goes on."""
        key = lab.key("leader")
        first, second = Contender(lab, key), Contender(lab, key)
        assert first.leads(), "the first contender leads"
        assert second.waits(), "the second contender waits"
        woken = list[float]()
        watch = second.election.on_turn(second.claim, lambda: woken.append(time.monotonic()))
        watch.close()
        watch.close()
        told = len(woken)
        assert second.is_woken(first.withdraw), "the other watch of the claim was closed, too"
        time.sleep(_MOMENT)
        is_equal(len(woken), told, "wakes of a closed watch")

    def test_the_leader_is_woken_when_its_claim_goes(self, lab: Lab) -> None:
        """Deleted by hand: it is told, and asking how it stands says that it does not lead."""
        key = lab.key("leader")
        leader = Contender(lab, key)
        assert leader.leads(), "the only contender leads"
        is_equal(leader.standing(), Leading(leader.token), "its standing")
        assert leader.is_woken(lambda: remove_claims(lab, key)), "it was not told of its loss"
        assert lab.eventually(lambda: not hardly_leads(leader)), "it leads without a claim"
        assert not isinstance(leader.standing(), Waiting), "it waits, and nobody leads"
        before = leader.token
        leader.enter()
        assert leader.leads(), f"it does not lead again: {leader.standing()}"
        assert leader.token > before, f"tokens {before} and then {leader.token}"


def remove_claims(lab: Lab, key: str) -> None:
    """Do what an operator does who wants another leader: delete the key, and the claims below."""
    lab.store.delete(key)
    for entry in lab.store.list(key):
        if entry.session is not None:
            lab.store.delete(entry.key)
