"""What went wrong in the programs that this one descends from, and the test that would find it.

docker/leadership and its stores (libkv, valkeyrie) had these mistakes and differences. A bare
name is a case of the contract, which every store is put through; the others are tests elsewhere.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from leadership_core import Capability
from leadership_core.testing import contract_cases

ROOT = Path(__file__).parents[2]

BUGS: dict[str, list[str]] = {
    "1 resigning crashes the process": [
        "test_resigning_again_is_harmless",
        "test_events_tell_the_story_in_order",
    ],
    "2 resigning twice, or while the lock is being lost, blocks for ever": [
        "test_resigning_again_is_harmless",
        "tests/core/test_leaving.py::test_resign_without_leading_is_false_at_once",
    ],
    "3 asking who leads blocks while nobody reads the outcome": [
        "test_iterators_that_nobody_reads_delay_nothing",
    ],
    "4 one that stops while it waits goes on waiting, and wins": [
        "test_one_that_stops_while_it_waits_never_leads",
        "test_one_that_waits_can_leave",
        "test_a_lock_that_is_held_is_waited_for_in_vain",
    ],
    "5 ZooKeeper: the loss of leadership is never told": [
        "test_a_leader_learns_that_its_session_has_ended",
        "test_a_leader_learns_that_its_claim_was_deleted",
        "test_the_leader_is_woken_when_its_claim_goes",
    ],
    "6 Consul: a leader that is cut off believes until the network is back": [
        "test_a_leader_that_is_cut_off_stops_believing_in_time",
        "tests/core/test_faults.py::test_hanging_renewal_does_not_hold_up_the_end",
    ],
    "7 etcd: one renewal that fails ends the term": [
        "test_a_renewal_that_fails_once_costs_nothing",
        "tests/core/test_faults.py::test_short_outage_costs_nothing",
    ],
    "8 Consul: a ttl that the server refuses fails late and darkly": [
        "test_a_session_reports_the_ttl_in_force",
        "tests/consul/test_election.py::test_a_ttl_that_the_server_refuses_comes_with_the_numbers",
        "tests/core/test_faults.py::test_refused_ttl_ends_the_candidate",
    ],
    "9 ZooKeeper: the ttl is ignored": [
        "test_a_silent_leader_is_replaced_in_time",
        "test_a_silent_session_expires_and_a_renewed_one_does_not",
    ],
    "10 an error that nobody reads blocks the election": [
        "test_iterators_that_nobody_reads_delay_nothing",
        "test_after_an_outage_all_is_as_before",
    ],
    "11 a slow reader stops the state machine": [
        "test_iterators_that_nobody_reads_delay_nothing",
        "tests/core/test_iterators.py::test_slow_reader_delays_nobody",
        "tests/core/test_iterators.py::test_sleeping_reader_skips_whole_terms",
    ],
    "12 a leader that was stopped says that it leads, for ever": [
        "test_a_candidate_is_elected_and_stops",
        "tests/core/test_iterators.py::test_last_false_comes_even_if_stop_does_not_wait",
    ],
    "13 stopping twice crashes; one that has stopped is elected again": [
        "test_stopping_again_is_harmless",
        "test_a_candidate_is_elected_and_stops",
    ],
    "14 data races": [
        "test_contention_leaves_a_sound_history",
        "test_many_threads_at_once",
        "tests/core/test_iterators.py::test_story_that_begins_at_any_moment_tells_nothing_twice",
    ],
    "15 a leader that has died is reported for ever": [
        "test_a_late_follower_sees_no_stale_leader",
        "test_a_leader_ends_with_its_session",
        "test_no_leader_is_none",
    ],
    "16 a follower that comes first fails, or hangs": [
        "test_a_follower_may_be_first",
        "test_a_watch_of_a_missing_key_tells_its_whole_life",
    ],
    "17 a follower ends with the first trouble of the store": [
        "test_after_an_outage_all_is_as_before",
        "tests/core/test_followers.py::test_outage_keeps_the_last_view",
    ],
    "18 stopping a follower takes 15 s, or for ever, and leaks": [
        "test_a_follower_stops_at_once",
        "test_no_thread_is_left_by_a_closed_watch",
    ],
    "19 one that resigns is elected again at once": [
        "test_resigning_hands_over",
        "test_everybody_gets_a_turn",
        "tests/core/test_campaign.py::test_cooldown_is_kept",
    ],
    "20 resigning takes 5 s now and then": ["test_resigning_hands_over"],
    "21 a release that failed is passed off as one": [
        "test_resign_promises_only_what_the_store_confirmed",
        "tests/core/test_leaving.py::test_stop_does_not_promise_what_the_store_has_not_said",
    ],
    "22 no fencing token": [
        "test_tokens_grow_whatever_ends_a_term",
        "test_a_fence_is_closed_when_its_leader_has_left",
        "test_a_term_fences_writes_until_it_ends",
    ],
    "23 keys mean something else on each store": [
        "test_every_legal_key_is_a_key_of_its_own",
        "test_slashes_around_a_key_are_left_out",
        "test_no_store_takes_an_illegal_key",
        "test_a_raw_entry_has_the_whole_key",
    ],
    "24 a lock that is lost again and again is a busy loop": [
        "test_after_an_outage_all_is_as_before",
        "tests/core/test_faults.py::test_losing_every_term_at_once_is_no_hot_loop",
        "tests/core/test_faults.py::test_no_fault_is_answered_with_a_hot_loop",
    ],
    "25 a leader that went and came back under its name is not seen": [
        "test_a_leader_elected_again_is_another_one",
        "test_a_follower_sees_every_lasting_leader",
    ],
}

DIFFERENCES: dict[str, list[str]] = {
    "watch of a missing key": ["test_a_watch_of_a_missing_key_tells_its_whole_life"],
    "watch of a key that is deleted": ["test_a_watch_of_a_missing_key_tells_its_whole_life"],
    "watch: updates between read and watch": [
        "test_a_change_at_the_moment_of_watching_is_told",
        "test_a_watch_tells_the_last_state_of_a_storm",
    ],
    "watch: stopping takes its time": [
        "test_nothing_is_told_after_close",
        "test_no_thread_is_left_by_a_closed_watch",
    ],
    "watch: an error ends it": [
        "test_after_an_outage_all_is_as_before",
        "test_a_callback_that_raises_is_called_again",
        "tests/consul/test_watch.py::test_what_an_outage_hides_is_told_after_it",
    ],
    "tree watch: only what changed, or not a changed value": [
        "test_a_tree_watch_tells_all_that_is_below",
    ],
    "list: recursive or not": ["test_list_ends_at_the_slash"],
    "list of ab has abc": ["test_list_ends_at_the_slash", "test_delete_tree_takes_what_is_below"],
    "list: descending, or in no order": ["test_list_is_in_the_order_of_the_keys"],
    "a value on a directory": ["test_a_key_is_not_there_because_of_what_is_below"],
    "an index of 0, or that of the parent, or of the clock": [
        "test_each_write_has_a_revision_of_its_own",
        "test_listed_entries_are_what_get_reads",
    ],
    "what a comparison compares": [
        "test_a_falsified_revision_is_a_conflict",
        "test_expecting_an_entry_writes_over_that_one_only",
        "test_delete_expecting_an_entry_deletes_that_one_only",
    ],
    "a value's ttl: half of it, none, or the connection's life": [
        "test_a_silent_session_expires_and_a_renewed_one_does_not",
        "test_closing_a_session_takes_its_entries",
    ],
    "a value's ttl is ignored if the key exists": ["test_an_entry_follows_its_last_writer"],
    "the value after the unlock stays": ["test_no_leader_is_none"],
    "the value after a crash stays": ["test_a_leader_ends_with_its_session"],
    "the least ttl": ["test_a_session_reports_the_ttl_in_force"],
    "cancelling a lock that waits": [
        "test_a_lock_that_is_held_is_waited_for_in_vain",
        "test_one_that_waits_can_leave",
    ],
    "the lost signal": ["test_the_leader_is_woken_when_its_claim_goes"],
    "unlock after loss takes the next one's lock": [
        "test_withdrawing_is_idempotent_and_harmless_when_late",
        "test_the_session_of_the_leader_is_closed",
    ],
    "a lock that is never locked leaks a session": ["test_a_closed_store_holds_nothing_for_long"],
    "fairness": ["test_everybody_gets_a_turn"],
    "close does nothing": ["test_a_closed_store_says_so", "test_close_ends_calls_and_threads"],
    "keys come back otherwise than they went": [
        "test_what_is_put_is_read",
        "test_every_legal_key_is_a_key_of_its_own",
    ],
    "binary, empty and large values": [
        "test_any_bytes_come_back_as_they_were",
        "test_an_empty_value_is_no_missing_key",
    ],
}

_CASES = {case.name for case in contract_cases(Capability)}


def _tests_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(), str(file))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    "tests", [*BUGS.values(), *DIFFERENCES.values()], ids=[*BUGS, *DIFFERENCES]
)
def test_an_old_mistake_has_a_test_that_finds_it(tests: list[str]) -> None:
    """The test exists, under that name."""
    assert tests
    for test in tests:
        if "::" in test:
            file, _, name = test.partition("::")
            assert name in _tests_of(ROOT / file), test
        else:
            assert test in _CASES, test


def test_all_of_them_are_here() -> None:
    """Twenty-five, each with its number."""
    assert [int(bug.split()[0]) for bug in BUGS] == list(range(1, 26))
