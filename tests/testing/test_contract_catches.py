"""The contract can fail: stores with one mistake each, and the case that finds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from leadership_core import Candidate, Capability, Store
from leadership_core.memory import State
from leadership_core.testing import ElectionContract, Lab, StoreContract, contract_cases
from tests.testing import broken_entries as entries, broken_races as races, broken_sessions as held
from tests.testing.broken_entries import Broken

MISTAKES: dict[type[Broken], str] = {
    entries.ListsByPrefix: "test_list_ends_at_the_slash",
    entries.ListsInAnyOrder: "test_list_is_in_the_order_of_the_keys",
    entries.ListsChildrenOnly: "test_list_ends_at_the_slash",
    entries.EmptyIsMissing: "test_an_empty_value_is_no_missing_key",
    entries.CutsValues: "test_any_bytes_come_back_as_they_were",
    entries.DeletesAlways: "test_delete_says_whether_it_was_there",
    entries.ComparesNothing: "test_expecting_an_entry_writes_over_that_one_only",
    entries.ComparesTheValueOnly: "test_expecting_an_entry_writes_over_that_one_only",
    entries.ReadsThenWrites: "test_a_counter_that_many_raise_loses_nothing",
    entries.CreatesAlways: "test_expecting_absence_creates_only",
    entries.CountsEachKey: "test_each_write_has_a_revision_of_its_own",
    entries.WatchesOnce: "test_a_watch_of_a_missing_key_tells_its_whole_life",
    entries.WatchLosesTheLast: "test_a_watch_tells_the_last_state_of_a_storm",
    entries.WatchIgnoresDeletion: "test_a_watch_of_a_missing_key_tells_its_whole_life",
    entries.WatchNeedsTheKey: "test_a_watch_of_a_missing_key_tells_its_whole_life",
    entries.TreeWatchSeesNoValues: "test_a_tree_watch_tells_all_that_is_below",
    entries.WatchTellsAfterClose: "test_nothing_is_told_after_close",
    entries.WatchDiesOfErrors: "test_a_callback_that_raises_is_called_again",
    entries.WatchCloseWaitsForNothing: "test_no_call_begins_once_close_has_returned",
    entries.WatchCallsUnderItsLock: "test_close_inside_the_callback_returns_at_once",
    held.SessionKeepsItsEntries: "test_closing_a_session_takes_its_entries",
    held.SessionNeverExpires: "test_a_silent_leader_is_replaced_in_time",
    held.SessionExpiresEarly: "test_a_silent_session_expires_and_a_renewed_one_does_not",
    held.SessionRisesAgain: "test_a_closed_session_is_lost",
    held.DeadSessionsMayWrite: "test_nothing_is_bound_to_a_closed_session",
    held.WriterKeepsTheOldSession: "test_an_entry_follows_its_last_writer",
    held.FenceIsIgnored: "test_a_fence_is_closed_when_its_leader_has_left",
    held.FenceComparesNoToken: "test_a_forged_token_opens_no_fence",
    held.BudgetIsIgnored: "test_every_call_keeps_to_its_budget",
    held.CloseLeavesAThread: "test_no_thread_is_left_by_a_closed_watch",
    held.DeclaresTooLittle: "test_it_declares_what_it_has",
    races.Phantoms: "test_no_phantom_is_elected",
    races.EverybodyLeads: "test_the_same_value_twice_is_two_holders",
    races.TokensRepeat: "test_tokens_grow_whatever_ends_a_term",
    races.NobodyIsWoken: "test_the_second_waits_and_is_woken",
    races.WithdrawsAnybody: "test_withdrawing_is_idempotent_and_harmless_when_late",
    races.WithdrawsNothing: "test_the_second_waits_and_is_woken",
    races.StaleLeader: "test_no_leader_is_none",
    races.LeadersAreNames: "test_a_leader_elected_again_is_another_one",
    races.ElectionWatchesCloseWithoutWaiting: (
        "test_no_call_begins_once_close_of_an_election_watch_has_returned"
    ),
    races.RacesShareOneKey: "test_elections_do_not_see_each_other",
}

CASES = {case.name: case for case in contract_cases(Capability)}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is never to come is not waited for as long as elsewhere."""
    monkeypatch.setattr("leadership_core.testing.heard.PATIENCE", 1.5)


def _lab(make: Callable[[State], Store]) -> Lab:
    state = State()
    return Lab(lambda: make(state), ttl=0.6)


@pytest.mark.parametrize("broken", MISTAKES, ids=lambda broken: broken.__name__)
def test_a_mistake_is_found(broken: type[Broken]) -> None:
    """By the case that is there for it, with a message that says what was wrong."""
    case = CASES[MISTAKES[broken]]
    with pytest.raises(AssertionError) as failure, _lab(broken) as lab:
        case.run(lab)
    assert str(failure.value).strip(), "it does not say what was wrong"


@pytest.mark.parametrize("name", sorted(set(MISTAKES.values())))
def test_a_store_without_a_mistake_passes(name: str) -> None:
    """It is the mistake that is found, and not the way in which the stores here are made."""
    with _lab(Broken) as lab:
        CASES[name].run(lab)


def test_all_broken_stores_are_put_to_the_test() -> None:
    """No mistake is written down that nobody looks for."""
    modules = (entries, held, races)
    written = {
        member
        for module in modules
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, Broken) and member is not Broken
    }
    assert written == set(MISTAKES)


def test_a_case_that_is_not_declared_is_not_there() -> None:
    """Not as a method, and not in the list; what is declared is."""

    class TestLeast(StoreContract, ElectionContract):
        pass

    class TestNone(StoreContract, capabilities=()):
        pass

    assert TestLeast.capabilities == {Capability.SESSIONS}
    assert TestLeast.test_a_forged_token_opens_no_fence is None
    assert TestLeast.test_revisions_grow_over_the_whole_store is None
    assert TestLeast.test_closing_a_session_takes_its_entries is not None
    assert TestNone.test_closing_a_session_takes_its_entries is None
    assert StoreContract.test_a_forged_token_opens_no_fence is not None
    least, most = contract_cases(), contract_cases(Capability)
    assert {case.name for case in least} < {case.name for case in most}
    assert "test_a_forged_token_opens_no_fence" not in {case.name for case in least}
    assert all(case.docstring and "\n" not in case.docstring for case in most)


def test_a_lab_leaves_nothing_behind() -> None:
    """Neither entries nor sessions, also after a case that has failed."""
    state = State()

    def run(*, fails: bool) -> None:
        with Lab(lambda: Broken(state)) as lab:
            lab.store.put(lab.key("a"), b"1", session=lab.session())
            lab.open().put(lab.key(), b"2")
            assert Candidate(lab.store, lab.key("leader"), "a", ttl=3).wait_elected(3)
            assert not fails, "the case has failed"

    run(fails=False)
    with pytest.raises(AssertionError, match="the case has failed"):
        run(fails=True)
    assert state.below("") == []
    assert not state._sessions
