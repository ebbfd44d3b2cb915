"""Mutants of the ZooKeeper backend."""

from __future__ import annotations

from typing import Any

from kazoo.protocol.serialization import SetData

from leadership_core.backend import clock
from leadership_core.backend.protocols import ClaimOutcomeUnknown
from leadership_core.errors import StoreClosed
from leadership_zookeeper import client as clients, kv, shared_client
from leadership_zookeeper.claim import ZooKeeperClaim
from leadership_zookeeper.election import ZooKeeperElection
from leadership_zookeeper.recipe import Recipe
from leadership_zookeeper.session import ZooKeeperSession

from .mutant import Mutant

__all__ = ["MUTANTS"]

_ELECTION = "tests/integration/zookeeper/test_election.py"
_HANDOVER = "tests/integration/zookeeper/test_handover.py"
_LOST = "tests/integration/zookeeper/test_lost_answers.py"


def sync_alone(renew: Any) -> Any:
    """Count a sync as a renewal, although ZooKeeper's leader may not have heard of the session."""

    def mutant(self: Any) -> float:
        client, sent = self.client, clock.now()
        client.request("renew the session", lambda kazoo: kazoo.sync_async("/"))
        client.disconnect_at = max(client.disconnect_at, sent + self._granted_ttl)
        return float(self._granted_ttl)

    return mutant


def ping(renew: Any) -> Any:
    """Count an answer of any server as a renewal."""

    def mutant(self: Any) -> float:
        client, sent = self.client, clock.now()
        client.request("renew the session", lambda kazoo: kazoo.exists_async("/"))
        client.disconnect_at = max(client.disconnect_at, sent + self._granted_ttl)
        return float(self._granted_ttl)

    return mutant


def read_after_sync(_: Any) -> Any:
    """Confirm a read by a sync only."""

    def mutant(self: Any, doing: str, *requests: Any) -> Any:
        return self.request(doing, lambda kazoo: kazoo.sync_async("/"), *requests)[1:]

    return mutant


def steps_by_version(steps: Any) -> Any:
    """Identify the node by its version only."""

    def mutant(target: Any, value: bytes, acl: Any, node: Any, owner: int, version: int) -> Any:
        if node is not None and node.ephemeral_owner == owner:
            return [SetData(target.path, value, node.version)]
        return steps(target, value, acl, node, owner, version)

    return mutant


def no_pin(_: Any) -> Any:
    return property(lambda _: False)


def closed(unavailable: Any) -> Any:
    """Take a replaced connection for a closed store."""
    return StoreClosed


def sequence_number(set_node: Any) -> Any:
    def mutant(self: Any, folder: str, name: str, token: int) -> None:
        set_node(self, folder, name, 1 + int(name[-10:]))

    return mutant


def node_of_the_session(_: Any) -> Any:
    return lambda claim, stat: bool(stat.ephemeralOwner == claim.owner.number)


def without_recheck(known: Any) -> Any:
    """Lead as soon as the predecessor is gone."""

    def mutant(self: Any) -> Any:
        before = self.predecessors
        return [] if before and self._is_reported_gone(before[-1]) else known(self)

    return mutant


def reported_on_any_connection(_: Any) -> Any:
    return lambda self, name: self._deleted is not None and self._deleted[0].endswith(f"/{name}")


def granted_is_enough(_: Any) -> Any:
    """Take a granted claim for watched, whatever has been reported about its node."""
    return property(lambda self: self.was_leading)


def any_report(note: Any) -> Any:
    """Count a change of a node before the claim as its deletion."""

    def mutant(self: Any, path: str | None, deleted: bool) -> None:
        note(self, path, deleted or path is not None)

    return mutant


def own_reports_unseen(_: Any) -> Any:
    return lambda self: (self.owner.client.connection, None)


def as_asked(start: Any) -> Any:
    def mutant(self: Any) -> None:
        start(self)
        self._granted_ttl = self._requested_ttl

    return mutant


def renewed_as_asked(renew: Any) -> Any:
    def mutant(self: Any) -> float:
        renew(self)
        self._granted_ttl = self._requested_ttl
        return float(self._granted_ttl)

    return mutant


def by_whole_name(_: Any) -> Any:
    def mutant(self: Any, names: Any) -> Any:
        return sorted(name for name in names if self.sequence(name) is not None)

    return mutant


def rank_by_whole_name(_: Any) -> Any:
    def mutant(self: Any, own: str, names: Any) -> Any:
        queue = sorted(name for name in names if self.sequence(name) is not None)
        return queue[: queue.index(own)] if own in queue else None

    return mutant


def enters_again(_: Any) -> Any:
    """After a lost response repeat the request, without a search for its node."""

    def mutant(self: Any, claim: Any, error: Exception) -> None:
        client = claim.owner.usable_client
        path, stat = client.result(client.send(claim.creation(self._folder))[0], "enter again")
        claim.set_node(self._folder, path.rpartition("/")[2], stat.czxid)

    return mutant


def forgotten(_: Any) -> Any:
    """After a lost response take the claim for settled, without a search for its node."""

    def mutant(self: Any, claim: Any, error: Exception) -> None:
        raise ClaimOutcomeUnknown(f"no answer to entering: {error}", claim) from error

    return mutant


def kept_alive_by_the_client(handler: Any) -> Any:
    """Let kazoo's own pings through."""
    return lambda *args, **options: handler(*args, **{**options, "allow_pings": True})


MUTANTS = [
    Mutant(
        "sync counts as a renewal",
        "ZooKeeper's leader counts from the reports of its servers, not from its answer to a sync.",
        "this library's first protocol; the lag is undocumented",
        ("tests/integration/zookeeper/test_heartbeats.py::test_renewal_is_known_to_leader_of_ensemble",),
        ((ZooKeeperSession, "renew", sync_alone),),
        "zookeeper",
        slow=True,
    ),
    Mutant(
        "ping counts as a renewal",
        "A server that is cut off still answers it, for seconds after the end of the session.",
        "kazoo and Curator: any answer of any server counts",
        ("tests/integration/zookeeper/test_sessions.py::test_partitioned_follower_acknowledges_no_renewal",),
        ((ZooKeeperSession, "renew", ping),),
        "zookeeper",
        slow=True,
    ),
    Mutant(
        "read after a sync only",
        "A leader of the ensemble that was paused past an election answers from its old state.",
        "this library, before an outside checker found it; ZooKeeper's own documentation",
        ("tests/integration/zookeeper/test_stale_leaders.py::test_deposed_leader_gives_no_stale_answer",),
        ((clients.Client, "request_linearizable", read_after_sync),),
        slow=True,
    ),
    Mutant(
        "compare-and-set by the version only",
        "Each creation restarts the version: a recreated entry passes for the expected one.",
        "ZooKeeper's setData with a version; this library, before an outside checker found it",
        ("tests/integration/zookeeper/test_compare_and_set.py::test_put_expecting_replaced_entry_raises_conflict",),
        ((kv.Target, "_compares", no_pin),),
    ),
    Mutant(
        "value written to another session's node",
        "Another session has bound the key meanwhile, and the value ends with that session.",
        "this library, before Porcupine found it",
        ("tests/integration/zookeeper/test_compare_and_set.py::test_bound_put_binds_to_own_session_after_concurrent_bound_put",
         "tests/integration/zookeeper/test_compare_and_set.py::test_unbound_put_replaces_concurrently_bound_node"),
        ((kv, "_write_operations", steps_by_version),),
    ),
    Mutant(
        "replaced connection is a closed store",
        "Followers that wait for a connection at that moment end for good.",
        "this library, before its simulation found it",
        ("tests/integration/zookeeper/test_watch.py::test_replaced_client_is_not_reported_as_closed_store",),
        ((shared_client, "StoreUnavailable", closed),),
        "zookeeper",
        slow=True,
    ),
    Mutant(
        "sequence number instead of czxid",
        "The number belongs to the folder: it restarts with the folder, and wraps at 2^31.",
        "ZooKeeper's recipe, taken for a token; Curator 653",
        (f"{_ELECTION}::test_tokens_grow_after_deletion_of_election_folder",
         "tests/contract/test_zookeeper.py::TestZooKeeper::test_tokens_grow_after_the_whole_election_is_deleted"),
        ((ZooKeeperClaim, "set_node", sequence_number), (ZooKeeperClaim, "is_stat_of", node_of_the_session)),
    ),
    Mutant(
        "no re-check after the predecessor leaves",
        "The predecessor has left the queue, and other claims are still before this one.",
        "ports of ZooKeeper's recipe, which warns of it",
        (f"{_ELECTION}::test_withdrawal_of_waiting_claim_elects_no_other",),
        ((ZooKeeperClaim, "known_predecessors", without_recheck),),
    ),
    Mutant(
        "report of an earlier connection elects",
        "The next server may lag behind the report, and still show the claim's node, which is gone.",
        "a tempting shortcut of hand-overs without a read",
        (f"{_HANDOVER}::test_report_of_earlier_connection_elects_nobody",
         f"{_HANDOVER}::test_connection_that_breaks_during_read_elects_nobody"),
        ((ZooKeeperClaim, "_is_reported_gone", reported_on_any_connection),),
    ),
    Mutant(
        "change of the predecessor elects",
        "A watch of a node's data fires when they change, too, and the node exists.",
        "a tempting shortcut of hand-overs without a read",
        (f"{_HANDOVER}::test_change_of_predecessor_elects_nobody",),
        ((ZooKeeperClaim, "on_node_changed", any_report),),
    ),
    Mutant(
        "deletion of the claim itself is not looked at",
        "An operator has deleted the claim before its predecessor left, and it is elected.",
        "a tempting shortcut of hand-overs without a read",
        (f"{_HANDOVER}::test_claim_deleted_before_its_predecessor_never_leads",
         f"{_HANDOVER}::test_claim_overwritten_before_its_predecessor_leaves_never_leads",
         f"{_HANDOVER}::test_status_of_claim_without_watch_is_read"),
        ((ZooKeeperClaim, "moment", own_reports_unseen),),
    ),
    Mutant(
        "granted claim is taken for watched",
        "Its node was deleted, or its connection broke, before the engine began to listen.",
        "a tempting shortcut of elections without a read",
        ("tests/integration/zookeeper/test_entering.py::test_change_before_watch_wakes_at_once",
         "tests/integration/zookeeper/test_entering.py::test_claim_of_earlier_connection_is_read_before_it_counts_as_watched"),
        ((ZooKeeperClaim, "is_covered", granted_is_enough),),
    ),
    Mutant(
        "requested ttl in place of the negotiated one",
        "A server grants 2 to 20 ticks: a client that counts what it requested may lead too long.",
        "kazoo's _session_timeout; docker/leadership on ZooKeeper (ignores the ttl)",
        ("tests/integration/zookeeper/test_options.py::test_granted_ttl_is_limited_by_server",
         "tests/integration/zookeeper/test_sessions.py::test_shorter_ttl_granted_on_reconnect_applies"),
        ((ZooKeeperSession, "_start", as_asked), (ZooKeeperSession, "renew", renewed_as_asked)),
    ),
    Mutant(
        "queue sorted by whole names",
        "Names begin with a random word, so the first name is any candidate's.",
        "ports of ZooKeeper's recipe, since names begin with a GUID",
        ("tests/contract/test_zookeeper.py::TestZooKeeper::test_one_of_many_claims_leads_at_a_time",),
        ((Recipe, "sorted_claims", by_whole_name), (Recipe, "predecessors_of", rank_by_whole_name)),
    ),
    Mutant(
        "enter without a response is repeated",
        "Both requests make a node, and the first one is orphaned.",
        "ZooKeeper's recipe before it had a GUID",
        (f"{_LOST}::test_enter_with_lost_answer_finds_its_claim",),
        ((ZooKeeperElection, "_read_back", enters_again),),
    ),
    Mutant(
        "orphaned claim on ZooKeeper",
        "The node cannot be looked up, and is taken for not made: it blocks all others.",
        "Curator 202 (no leader any more)",
        (f"{_LOST}::test_enter_without_answers_is_unknown_until_withdrawn",),
        ((ZooKeeperElection, "_read_back", forgotten),),
    ),
    Mutant(
        "client library keeps the session alive",
        "A thread of the library sends pings, whether the program renews or hangs.",
        "kazoo and Curator, by design",
        (f"{_LOST}::test_session_expires_without_renewal_despite_live_connection",),
        ((clients, "Handler", kept_alive_by_the_client),),
        slow=True,
    ),
]  # fmt: skip
