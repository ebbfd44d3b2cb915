"""The contract on stores with one mistake each, and the case that finds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from leadership_core import Candidate, Capability
from leadership_core.backend import StoreBackend
from leadership_core.stores.memory import State
from leadership_core.testing import ElectionContract, Sandbox, StoreContract, contract_cases
from tests.contract import (
    broken_elections as elections,
    broken_entries as entries,
    broken_sessions as sessions,
)
from tests.contract.broken_entries import Broken

MISTAKES: dict[type[Broken], str] = {
    entries.ListsByPrefix: "test_list_ends_at_the_slash",
    entries.ListsInAnyOrder: "test_list_is_in_the_order_of_the_keys",
    entries.ListsChildrenOnly: "test_list_ends_at_the_slash",
    entries.EmptyIsMissing: "test_empty_value_exists",
    entries.CutsValues: "test_values_are_kept_byte_for_byte",
    entries.DeletesAlways: "test_delete_returns_whether_the_key_existed",
    entries.ComparesNothing: "test_put_expecting_an_entry_only_replaces_that_entry",
    entries.ComparesTheValueOnly: "test_put_expecting_an_entry_only_replaces_that_entry",
    entries.ReadsThenWrites: "test_concurrent_increments_lose_nothing",
    entries.CreatesAlways: "test_put_expecting_absence_only_creates",
    entries.CountsEachKey: "test_each_write_has_its_own_revision",
    entries.WatchesOnce: "test_watch_of_a_missing_key_reports_every_lasting_state",
    entries.WatchLosesTheLast: "test_watch_reports_the_last_of_many_writes",
    entries.WatchIgnoresDeletion: "test_watch_of_a_missing_key_reports_every_lasting_state",
    entries.WatchNeedsTheKey: "test_watch_of_a_missing_key_reports_every_lasting_state",
    entries.TreeWatchSeesNoValues: "test_tree_watch_reports_all_keys_below",
    entries.WatchReportsAfterClose: "test_watch_is_silent_after_close",
    entries.WatchDiesOfErrors: "test_watch_callback_that_raises_is_called_again",
    entries.WatchCloseWaitsForNothing: "test_watch_close_waits_for_a_running_callback",
    entries.WatchCallsUnderItsLock: "test_watch_close_inside_its_callback_returns_at_once",
    sessions.SessionKeepsItsEntries: "test_closing_a_session_deletes_its_entries",
    sessions.SessionNeverExpires: "test_silent_leader_is_replaced_within_its_expiry",
    sessions.SessionExpiresEarly: "test_session_expires_without_renewal",
    sessions.SessionReopens: "test_closed_session_cannot_be_renewed",
    sessions.DeadSessionsMayWrite: "test_put_with_a_closed_session_raises_session_lost",
    sessions.WriterKeepsTheOldSession: "test_entry_is_bound_to_the_session_of_its_last_writer",
    sessions.FenceIsIgnored: "test_fenced_write_is_refused_after_its_leader_withdrew",
    sessions.FenceComparesNoToken: "test_fenced_write_with_a_forged_token_is_refused",
    sessions.TimeoutIsIgnored: "test_calls_end_within_their_timeout",
    sessions.CloseLeavesAThread: "test_closed_watch_leaves_no_thread",
    sessions.DeclaresTooLittle: "test_store_declares_the_tested_capabilities",
    elections.Phantoms: "test_waiting_claim_without_a_session_is_never_elected",
    elections.SameNameLeads: "test_claims_with_the_same_value_are_two_claims",
    elections.TokensRepeat: "test_tokens_grow_whatever_ends_a_term",
    elections.WakesNoClaim: "test_second_claim_waits_and_is_woken",
    elections.WithdrawsAnyClaim: "test_withdraw_is_idempotent_and_harmless_when_late",
    elections.WithdrawsNothing: "test_second_claim_waits_and_is_woken",
    elections.StaleLeader: "test_leader_is_none_without_a_candidate",
    elections.LeadersAreNames: "test_leader_elected_again_has_another_token",
    elections.ElectionWatchesCloseWithoutWaiting: (
        "test_election_watch_close_waits_for_a_running_callback"
    ),
    elections.ElectionsShareOneKey: "test_elections_with_nested_keys_are_independent",
}

CASES = {case.name: case for case in contract_cases(Capability)}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less than usual for events that never come."""
    monkeypatch.setattr("leadership_core.testing.recorders.DEFAULT_WAIT", 1.5)


def _sandbox(make: Callable[[State], StoreBackend]) -> Sandbox:
    state = State()
    return Sandbox(lambda: make(state), ttl=0.6)


@pytest.mark.parametrize("broken", MISTAKES, ids=lambda broken: broken.__name__)
def test_contract_finds_a_broken_store(broken: type[Broken]) -> None:
    """The case for its mistake fails, with a message that says what was wrong."""
    case = CASES[MISTAKES[broken]]
    with pytest.raises(AssertionError) as failure, _sandbox(broken) as sandbox:
        case.run(sandbox)
    assert str(failure.value).strip(), "the message is empty"


@pytest.mark.parametrize("name", sorted(set(MISTAKES.values())))
def test_contract_passes_a_store_without_a_mistake(name: str) -> None:
    """So the failures come from the mistakes, not from the base class."""
    with _sandbox(Broken) as sandbox:
        CASES[name].run(sandbox)


def test_every_broken_store_is_tested() -> None:
    """Every class of a broken store is listed with its case."""
    modules = (entries, sessions, elections)
    written = {
        member
        for module in modules
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, Broken) and member is not Broken
    }
    assert written == set(MISTAKES)


def test_contract_leaves_out_undeclared_cases() -> None:
    """They are missing as methods and in the list of cases."""

    class TestLeast(StoreContract, ElectionContract):
        pass

    class TestNone(StoreContract, capabilities=()):
        pass

    assert TestLeast.capabilities == {Capability.SESSIONS}
    assert TestLeast.test_fenced_write_with_a_forged_token_is_refused is None
    assert TestLeast.test_revisions_grow_over_the_whole_store is None
    assert TestLeast.test_closing_a_session_deletes_its_entries is not None
    assert TestNone.test_closing_a_session_deletes_its_entries is None
    assert StoreContract.test_fenced_write_with_a_forged_token_is_refused is not None
    least, most = contract_cases(), contract_cases(Capability)
    assert {case.name for case in least} < {case.name for case in most}
    assert "test_fenced_write_with_a_forged_token_is_refused" not in {case.name for case in least}
    assert all(case.docstring and "\n" not in case.docstring for case in most)


def test_sandbox_leaves_nothing_behind() -> None:
    """No entries and sessions remain, even after a failed case."""
    state = State()

    def run(*, fails: bool) -> None:
        with Sandbox(lambda: Broken(state)) as sandbox:
            sandbox.store.put(sandbox.key("a"), b"1", session=sandbox.session())
            sandbox.open().put(sandbox.key(), b"2")
            assert Candidate(sandbox.store, sandbox.key("leader"), "a", ttl=3).wait_elected(3)
            assert not fails, "the case has failed"

    run(fails=False)
    with pytest.raises(AssertionError, match="the case has failed"):
        run(fails=True)
    assert state.subtree("") == []
    assert not state.debug_state().sessions
