"""Known mistakes of the predecessors of this library, each with the test that finds it.

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
        "test_resign_may_be_repeated",
        "test_candidate_events_are_in_order",
    ],
    "2 resigning twice, or during a loss, blocks without end": [
        "test_resign_may_be_repeated",
        "tests/unit/test_leaving.py::test_resign_without_leading_is_false_at_once",
    ],
    "3 reading the leader blocks while the outcome is not read": [
        "test_candidate_with_unread_iterators_is_elected_and_resigns",
    ],
    "4 one that stops while it waits goes on waiting, and wins": [
        "test_candidate_that_stops_while_waiting_is_never_elected",
        "test_waiting_claim_can_be_withdrawn",
        "test_lock_acquire_returns_none_after_its_timeout",
    ],
    "5 ZooKeeper: the loss of leadership is never reported": [
        "test_leader_whose_session_ended_reports_the_loss",
        "test_leader_whose_claim_was_deleted_reports_the_loss",
        "test_leader_is_woken_when_its_claim_is_deleted",
    ],
    "6 Consul: a leader that is cut off believes until the network is back": [
        "test_leader_that_is_cut_off_stops_before_the_next_is_elected",
        "tests/unit/test_faults.py::test_hanging_renewal_does_not_delay_the_end_of_the_term",
    ],
    "7 etcd: one renewal that fails ends the term": [
        "test_renewal_that_fails_once_is_repeated",
        "tests/unit/test_faults.py::test_short_outage_costs_nothing",
    ],
    "8 Consul: a ttl that the server refuses fails late and darkly": [
        "test_session_reports_its_granted_ttl",
        "tests/integration/consul/test_election.py::test_open_session_rejects_invalid_ttl_with_the_limits",
        "tests/unit/test_faults.py::test_refused_ttl_ends_the_candidate",
    ],
    "9 ZooKeeper: the ttl is ignored": [
        "test_silent_leader_is_replaced_within_its_expiry",
        "test_session_expires_without_renewal",
    ],
    "10 an unread error blocks the election": [
        "test_candidate_with_unread_iterators_is_elected_and_resigns",
        "test_candidate_and_follower_recover_from_an_outage",
    ],
    "11 a slow reader stops the state machine": [
        "test_candidate_with_unread_iterators_is_elected_and_resigns",
        "tests/unit/test_iterators.py::test_slow_reader_delays_no_other",
        "tests/unit/test_iterators.py::test_sleeping_reader_skips_whole_terms",
    ],
    "12 a stopped leader reports itself as leader without end": [
        "test_candidate_is_elected_and_stops",
        "tests/unit/test_iterators.py::test_last_false_comes_even_if_stop_does_not_wait",
    ],
    "13 stopping twice crashes; one that has stopped is elected again": [
        "test_stop_may_be_repeated",
        "test_candidate_is_elected_and_stops",
    ],
    "14 data races": [
        "test_history_is_correct_under_contention",
        "test_threads_do_not_disturb_each_other",
        "tests/unit/test_iterators.py::test_event_stream_opened_at_any_moment_repeats_nothing",
    ],
    "15 a dead leader is reported without end": [
        "test_follower_that_starts_late_reports_no_stale_leader",
        "test_leader_is_none_after_its_session_ended",
        "test_leader_is_none_without_a_candidate",
    ],
    "16 a follower that comes first fails, or hangs": [
        "test_follower_reports_the_first_leader",
        "test_watch_of_a_missing_key_reports_every_lasting_state",
    ],
    "17 a follower ends with the first trouble of the store": [
        "test_candidate_and_follower_recover_from_an_outage",
        "tests/unit/test_followers.py::test_outage_keeps_the_last_view",
    ],
    "18 stopping a follower takes 15 s or never ends, and leaks": [
        "test_follower_stops_at_once",
        "test_closed_watch_leaves_no_thread",
    ],
    "19 one that resigns is elected again at once": [
        "test_resign_hands_over_to_a_waiting_candidate",
        "test_candidate_is_elected_eventually_under_contention",
        "tests/unit/test_state_machine.py::test_resign_keeps_the_cooldown",
    ],
    "20 resigning takes 5 s now and then": ["test_resign_hands_over_to_a_waiting_candidate"],
    "21 a release that failed is passed off as one": [
        "test_resign_returns_true_only_after_confirmation",
        "tests/unit/test_leaving.py::test_stop_is_false_without_confirmation_of_the_store",
    ],
    "22 no fencing token": [
        "test_tokens_grow_whatever_ends_a_term",
        "test_fenced_write_is_refused_after_its_leader_withdrew",
        "test_fenced_write_of_a_candidate_is_refused_after_its_term",
    ],
    "23 keys mean something else on each store": [
        "test_legal_keys_are_distinct",
        "test_slashes_around_a_key_are_removed",
        "test_illegal_keys_are_refused",
        "test_backend_keys_have_the_prefix_of_the_url",
    ],
    "24 a lock that is lost again and again is a busy loop": [
        "test_candidate_and_follower_recover_from_an_outage",
        "tests/unit/test_plugin_mistakes.py::test_losing_every_term_at_once_causes_no_hot_loop",
        "tests/unit/test_plugin_mistakes.py::test_faults_cause_no_hot_loop",
    ],
    "25 a leader that went and came back under its name is not seen": [
        "test_leader_elected_again_has_another_token",
        "test_follower_reports_every_lasting_leader",
    ],
}

DIFFERENCES: dict[str, list[str]] = {
    "watch of a missing key": ["test_watch_of_a_missing_key_reports_every_lasting_state"],
    "watch of a key that is deleted": ["test_watch_of_a_missing_key_reports_every_lasting_state"],
    "watch: updates between read and watch": [
        "test_watch_misses_no_write_at_its_start",
        "test_watch_reports_the_last_of_many_writes",
    ],
    "watch: stopping takes its time": [
        "test_watch_is_silent_after_close",
        "test_closed_watch_leaves_no_thread",
    ],
    "watch: an error ends it": [
        "test_candidate_and_follower_recover_from_an_outage",
        "test_watch_callback_that_raises_is_called_again",
        "tests/integration/consul/test_watch.py::test_watch_reports_changes_during_an_outage_after_it",
    ],
    "tree watch: only what changed, or not a changed value": [
        "test_tree_watch_reports_all_keys_below",
    ],
    "list: recursive or not": ["test_list_ends_at_the_slash"],
    "list of ab has abc": [
        "test_list_ends_at_the_slash",
        "test_delete_tree_deletes_all_keys_below",
    ],
    "list: descending, or in no order": ["test_list_is_in_the_order_of_the_keys"],
    "a value on a directory": ["test_key_above_an_entry_does_not_exist_by_itself"],
    "an index of 0, or that of the parent, or of the clock": [
        "test_each_write_has_its_own_revision",
        "test_list_returns_the_entries_that_get_reads",
    ],
    "what a comparison compares": [
        "test_forged_revision_is_a_conflict",
        "test_put_expecting_an_entry_only_replaces_that_entry",
        "test_delete_expecting_an_entry_only_deletes_that_entry",
    ],
    "a value's ttl: half of it, none, or the connection's life": [
        "test_session_expires_without_renewal",
        "test_closing_a_session_deletes_its_entries",
    ],
    "a value's ttl is ignored if the key exists": [
        "test_entry_is_bound_to_the_session_of_its_last_writer"
    ],
    "the value after the unlock stays": ["test_leader_is_none_without_a_candidate"],
    "the value after a crash stays": ["test_leader_is_none_after_its_session_ended"],
    "the least ttl": ["test_session_reports_its_granted_ttl"],
    "cancelling a lock that waits": [
        "test_lock_acquire_returns_none_after_its_timeout",
        "test_waiting_claim_can_be_withdrawn",
    ],
    "the lost signal": ["test_leader_is_woken_when_its_claim_is_deleted"],
    "unlock after a loss releases the next holder's lock": [
        "test_withdraw_is_idempotent_and_harmless_when_late",
        "test_closing_the_leaders_session_elects_the_next",
    ],
    "a lock that is never locked leaks a session": [
        "test_leader_of_a_closed_store_is_replaced_within_its_expiry"
    ],
    "fairness": ["test_candidate_is_elected_eventually_under_contention"],
    "close does nothing": [
        "test_closed_store_raises_store_closed",
        "test_close_ends_calls_and_threads",
    ],
    "keys come back otherwise than they went": [
        "test_put_returns_the_entry_that_is_read",
        "test_legal_keys_are_distinct",
    ],
    "binary, empty and large values": [
        "test_values_are_kept_byte_for_byte",
        "test_empty_value_exists",
    ],
}

_CASES = {case.name for case in contract_cases(Capability)}


def _tests_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(), str(file))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    "tests", [*BUGS.values(), *DIFFERENCES.values()], ids=[*BUGS, *DIFFERENCES]
)
def test_known_mistake_has_an_existing_test(tests: list[str]) -> None:
    """The named tests exist."""
    assert tests
    for test in tests:
        if "::" in test:
            file, _, name = test.partition("::")
            assert name in _tests_of(ROOT / file), test
        else:
            assert test in _CASES, test


def test_catalogue_of_known_mistakes_is_complete() -> None:
    """They are twenty-five, numbered without a gap."""
    assert [int(bug.split()[0]) for bug in BUGS] == list(range(1, 26))
