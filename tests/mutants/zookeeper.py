"""Mistakes on ZooKeeper."""

from __future__ import annotations

from typing import Any

from kazoo.protocol.serialization import SetData

from leadership_core import clock
from leadership_core.errors import ClaimUnknown, StoreClosed
from leadership_zookeeper import claim as claims, election, entries, link as links, nodes, reader
from leadership_zookeeper.claim import ZooKeeperClaim
from leadership_zookeeper.election import ZooKeeperElection
from leadership_zookeeper.session import ZooKeeperSession

from .mutant import Mutant

__all__ = ["MUTANTS"]

_ELECTION = "tests/zookeeper/test_election.py"
_LOST = "tests/zookeeper/test_lost_answers.py"


def sync_alone(renew: Any) -> Any:
    """A session counts as renewed although ZooKeeper's leader may not have heard of it."""

    def mutant(self: Any) -> float:
        link, sent = self.link, clock.now()
        link.ask("renew the session", lambda client: client.sync_async("/"))
        link.until = max(link.until, sent + self._ttl)
        return float(self._ttl)

    return mutant


def ping(renew: Any) -> Any:
    """A follower answers for its ensemble."""

    def mutant(self: Any) -> float:
        link, sent = self.link, clock.now()
        link.ask("renew the session", lambda client: client.exists_async("/"))
        link.until = max(link.until, sent + self._ttl)
        return float(self._ttl)

    return mutant


def read_after_sync(_: Any) -> Any:
    """The server catches up with its leader, whoever that is."""

    def mutant(self: Any, doing: str, *requests: Any) -> Any:
        return self.ask(doing, lambda client: client.sync_async("/"), *requests)[1:]

    return mutant


def steps_by_version(steps: Any) -> Any:
    """The node is taken for the one that was read, since it has the same version."""

    def mutant(target: Any, value: bytes, acl: Any, node: Any, owner: int, version: int) -> Any:
        if node is not None and node.owner == owner:
            return [SetData(target.path, value, node.version)]
        return steps(target, value, acl, node, owner, version)

    return mutant


def no_pin(_: Any) -> Any:
    return property(lambda _: False)


def closed(unavailable: Any) -> Any:
    """Whoever waits for a connection just then ends for good."""
    return StoreClosed


def sequence_number(stand: Any) -> Any:
    def mutant(self: Any, folder: str, name: str, token: int) -> None:
        stand(self, folder, name, 1 + int(name[-10:]))

    return mutant


def node_of_the_session(_: Any) -> Any:
    return lambda claim, stat: bool(stat.ephemeralOwner == claim.owner.number)


def no_second_look(known: Any) -> Any:
    """The one before it is gone, so it leads."""

    def mutant(self: Any) -> Any:
        gone = self.ahead and self._gone.endswith(f"/{self.ahead[-1]}")
        return [] if gone else known(self)

    return mutant


def as_asked(start: Any) -> Any:
    def mutant(self: Any) -> None:
        start(self)
        self._ttl = self._asked

    return mutant


def renewed_as_asked(renew: Any) -> Any:
    def mutant(self: Any) -> float:
        renew(self)
        self._ttl = self._asked
        return float(self._ttl)

    return mutant


def by_whole_name(_: Any) -> Any:
    return lambda names: sorted(name for name in names if claims._sequence(name) is not None)


def first_by_whole_name(_: Any) -> Any:
    return lambda names: next(iter(by_whole_name(None)(names)), None)


def rank_by_whole_name(_: Any) -> Any:
    def mutant(self: Any, names: Any) -> Any:
        queue, own = by_whole_name(None)(names), (self.path or "").rpartition("/")[2]
        return queue[: queue.index(own)] if own in queue else None

    return mutant


def enters_again(_: Any) -> Any:
    """No answer: the same once more, without a look at what the first request has made."""

    def mutant(self: Any, claim: Any, error: Exception) -> None:
        link = claim.owner.usable_link
        path, stat = link.answer(link.send(self._creation(claim))[0], "enter again")
        claim.stand(self._folder, path.rpartition("/")[2], stat.czxid)

    return mutant


def forgotten(_: Any) -> Any:
    """No answer: the claim is taken for settled, so nobody looks for its node."""

    def mutant(self: Any, claim: Any, error: Exception) -> None:
        raise ClaimUnknown(f"no answer to entering: {error}", claim) from error

    return mutant


def kept_alive_by_the_client(handler: Any) -> Any:
    """Its own pings get through, so the session lives as long as the process and its connection."""
    return lambda *args, **options: handler(*args, **{**options, "pings": True})


MUTANTS = [
    Mutant(
        "a sync that the leader has not heard of",
        "ZooKeeper's leader counts from what the servers tell it, not from when it answers a sync.",
        "this library's first protocol; nobody documents the lag",
        ("tests/zookeeper/test_touches.py::test_a_renewal_counts_for_the_leader_of_the_ensemble",),
        ((ZooKeeperSession, "renew", sync_alone),),
        "zookeeper",
        slow=True,
    ),
    Mutant(
        "a ping in place of a sync",
        "A server that is cut off from the others answers it, for seconds after the session's end.",
        "kazoo and Curator: any answer of any server counts",
        ("tests/zookeeper/test_sessions.py::test_a_follower_that_is_cut_off_acknowledges_no_renewal",),
        ((ZooKeeperSession, "renew", ping),),
        "zookeeper",
        slow=True,
    ),
    Mutant(
        "a read of ZooKeeper rests on sync alone",
        "A leader of the ensemble that was stopped past an election answers from its old state.",
        "this library, before an outside checker found it; ZooKeeper's own documentation",
        ("tests/zookeeper/test_stale_leaders.py::test_a_stale_leader_gives_no_definite_answer",),
        ((links.Link, "ask_confirmed", read_after_sync),),
        slow=True,
    ),
    Mutant(
        "compare-and-set by the version alone",
        "The version begins anew with each creation: an entry that was made again passes for the old one.",
        "ZooKeeper's setData with a version; this library, before an outside checker found it",
        ("tests/zookeeper/test_comparisons.py::test_a_write_that_compares",),
        ((entries._Target, "_compares", no_pin),),
    ),
    Mutant(
        "a value is written to a node of another session",
        "The key was bound by another session meanwhile, and what is written goes with that one.",
        "this library, before Porcupine found it",
        ("tests/zookeeper/test_comparisons.py::test_what_is_bound_is_bound_to_its_own_session",
         "tests/zookeeper/test_comparisons.py::test_what_is_not_bound_is_never_written_to_a_node_that_is"),
        ((entries, "_steps", steps_by_version),),
    ),
    Mutant(
        "a connection that is replaced is a closed store",
        "Followers that wait for a connection just then end for good.",
        "this library, before its simulation found it",
        ("tests/zookeeper/test_watch.py::test_nobody_is_told_of_a_closed_store_when_its_connection_is_replaced",),
        ((reader, "StoreUnavailable", closed),),
        "zookeeper",
        slow=True,
    ),
    Mutant(
        "sequence number instead of czxid",
        "The number is the folder's: it begins anew with the folder, and wraps at 2^31.",
        "ZooKeeper's recipe taken for a token; Curator 653",
        (f"{_ELECTION}::test_the_folder_of_an_election_may_be_deleted",
         "tests/testing/test_zookeeper.py::TestZooKeeper::test_tokens_grow_although_all_of_a_race_is_deleted"),
        ((ZooKeeperClaim, "stand", sequence_number), (election, "_is_node_of", node_of_the_session)),
    ),
    Mutant(
        "no re-check after the predecessor goes",
        "The one before has left the queue, and others still stand before it.",
        "ports of ZooKeeper's recipe, which warns of it",
        (f"{_ELECTION}::test_one_in_the_middle_that_goes_makes_nobody_lead",),
        ((ZooKeeperClaim, "known_ahead", no_second_look),),
    ),
    Mutant(
        "the ttl as asked, not as negotiated",
        "A server grants 2 to 20 ticks: who believes for what it has asked for may believe too long.",
        "kazoo's _session_timeout; docker/leadership on ZooKeeper (ignores the ttl)",
        ("tests/zookeeper/test_options.py::test_the_granted_ttl_is_the_servers",
         "tests/zookeeper/test_sessions.py::test_a_shorter_grant_at_a_new_connection_counts"),
        ((ZooKeeperSession, "_start", as_asked), (ZooKeeperSession, "renew", renewed_as_asked)),
    ),
    Mutant(
        "the queue is sorted by whole names",
        "Names begin with a random word, so the first is anybody.",
        "ports of ZooKeeper's recipe, since names begin with a GUID",
        ("tests/testing/test_zookeeper.py::TestZooKeeper::test_one_of_many_leads_and_then_the_next",),
        ((claims, "in_order", by_whole_name), (nodes, "first", first_by_whole_name),
         (ZooKeeperClaim, "rank", rank_by_whole_name)),
    ),
    Mutant(
        "an enter without an answer is repeated",
        "The first request has made a node, the second makes another, and the first is nobody's.",
        "ZooKeeper's recipe before it had a GUID",
        (f"{_LOST}::test_a_claim_whose_answer_was_lost_is_found_by_its_name",),
        ((ZooKeeperElection, "_read_back", enters_again),),
    ),
    Mutant(
        "orphan claim on ZooKeeper after an enter without an answer",
        "It cannot be looked for, and is taken for not made: it stands before everybody else.",
        "Curator 202 (nobody leads for ever)",
        (f"{_LOST}::test_a_claim_that_cannot_be_looked_for_is_unknown_and_withdrawn_later",),
        ((ZooKeeperElection, "_read_back", forgotten),),
    ),
    Mutant(
        "the client library keeps the session alive",
        "A thread of its own pings on, whether the program renews or hangs.",
        "kazoo and Curator, by design",
        (f"{_LOST}::test_a_session_that_nobody_renews_ends_though_its_connection_is_fine",),
        ((links, "Handler", kept_alive_by_the_client),),
        slow=True,
    ),
]  # fmt: skip
