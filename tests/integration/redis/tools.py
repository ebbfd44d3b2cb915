"""Elections whose whole history is checked at the end, and replicated servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from leadership_core import Candidate, Store, Term, open_store
from leadership_core.testing import CandidateRecorder, History, check_history
from tests.support.servers.redis import RedisServer
from tests.support.waiting import at_most, wait_until

__all__ = ["Contest", "contest", "follows", "freeze", "thaw"]

KEY = "service/leader"


@dataclass
class Contest:
    """Candidates of one election in this process, each with its own store."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    stores: list[Store] = field(default_factory=list)
    history: History = field(default_factory=History)

    def leader(self) -> str | None:
        """The candidate that leads now; the first one if several do."""
        return next((who for who, one in self.candidates.items() if one.is_leader), None)

    def await_leader(self, seconds: float, *, other_than: str | None = None) -> Term:
        """Wait for a leader, or for another one."""
        wait_until(lambda: self.leader() not in {None, other_than}, seconds, "a leader")
        while True:
            who = self.leader()
            term = self.candidates[who].term if who else None
            if term is not None:
                return term


@contextmanager
def contest(*urls: str, ttl: float = 1.5, two_may_lead: bool = False) -> Iterator[Contest]:
    """Let a candidate campaign at each URL; at the end all stop, and the history must be correct.

    Args:
        urls: of the same store, one for each candidate.
        ttl: seconds.
        two_may_lead: the history is not checked.
    """
    contest = Contest()
    with ExitStack() as stack:
        recorders = {}
        for number, url in enumerate(urls):
            who = f"c{number}"
            store = stack.enter_context(open_store(url))
            contest.stores.append(store)
            contest.candidates[who] = candidate = Candidate(store, KEY, who, ttl=ttl)
            recorders[who] = CandidateRecorder(contest.history, candidate, who)
        yield contest
        for who, candidate in contest.candidates.items():
            assert candidate.stop(at_most(10)), f"{who} did not stop"
            assert recorders[who].join(at_most(5))
    if not two_may_lead:
        problems = check_history(contest.history)
        assert problems == [], problems


def follows(replica: RedisServer, primary: RedisServer) -> None:
    """Make a server the replica of another one, and wait until it has its data."""
    replica.ask(f"REPLICAOF {primary.host} {primary.port}")
    wait_until(
        lambda: (
            replica.info("master_link_status") == "up" and primary.info("connected_slaves") != "0"
        ),
        10,
        "the replica has the data",
    )


def freeze(primary: RedisServer, replica: RedisServer) -> None:
    """Stop a primary in a moment when its replica has all that it has acknowledged.

    Redis replicates asynchronously: otherwise a failover could lose the claim of the leader.
    """
    primary.ask("CLIENT PAUSE 60000 WRITE")
    wait_until(
        lambda: (
            (offset := primary.info("master_repl_offset")) == replica.info("slave_repl_offset")
            and offset
        ),
        10,
        "the replica has all of it",
    )
    primary.pause()


def thaw(primary: RedisServer) -> None:
    """Let a frozen primary go on, and execute writes again."""
    primary.resume()
    primary.ask("CLIENT UNPAUSE")
