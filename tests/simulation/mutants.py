"""Known mistakes of this field, put into the product one at a time, to see that they are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from leadership_consul.election import ConsulElection
from leadership_core import lease, timing
from leadership_core.candidate import Candidate
from leadership_core.default_election import DefaultElection
from leadership_core.engine import candidate_runner, leased_session
from leadership_core.engine.leased_session import LeasedSession
from leadership_core.engine.sessions import Sessions
from leadership_core.engine.turn_watch import TurnWatch
from leadership_core.lease import Lease
from leadership_core.machine import Campaign, happenings as on
from leadership_core.tenure import Tenure
from leadership_etcd.election import EtcdElection
from leadership_etcd.turn import Turn
from leadership_zookeeper import reader
from leadership_zookeeper.session import ZooKeeperSession

from . import mistakes

__all__ = ["MUTANTS", "Mutant"]

_Patch = tuple[Any, str, Callable[[Any], Any]]  # where, what, and from the old one the new one


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        name: what is wrong.
        backend: where it shows.
        patches: the mistake.
    """

    name: str
    backend: str
    patches: tuple[_Patch, ...]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While it is in the product."""
        with ExitStack() as stack:
            for place, name, mutate in self.patches:
                new = mutate(getattr(place, name))
                stack.enter_context(mock.patch.object(place, name, new))
            yield

    def __str__(self) -> str:
        return f"{self.name} ({self.backend})"


MUTANTS = [
    Mutant("deadline from the reply's time", "default", ((Lease, "acknowledge", mistakes.from_the_reply),)),
    Mutant("no margin", "default", ((lease, "margin_for", mistakes.no_margin),)),
    Mutant("no answer to entering counts as failure", "default",
           ((DefaultElection, "_read_back", mistakes.nothing_written),)),
    Mutant("no answer to entering counts as success", "default",
           ((DefaultElection, "_read_back", mistakes.surely_written),)),
    Mutant("a withdrawal deletes whatever is there", "default",
           ((DefaultElection, "withdraw", mistakes.delete_anything),)),
    Mutant("a withdrawal does nothing", "default", ((DefaultElection, "withdraw", mistakes.nothing),)),
    Mutant("a release that any term of the session satisfies", "consul",
           ((ConsulElection, "_unlock", mistakes.release_by_session),)),
    Mutant("a claim that somebody wrote over", "consul",
           ((ConsulElection, "standing", mistakes.ours_is_ours),)),
    Mutant("the token is the key's own count", "consul",
           ((ConsulElection, "_lock", mistakes.lock_index),)),
    Mutant("a late claim is adopted", "default",
           ((Campaign, "_failed", mistakes.surely_withdrawn), (DefaultElection, "enter", mistakes.adopt_own))),
    Mutant("the end of a session is not heard", "default",
           ((leased_session, "call", mistakes.lost_is_unknown),
            (candidate_runner, "call", mistakes.lost_is_unknown))),
    Mutant("a session is renewed past its deadline", "default",
           ((LeasedSession, "_close", mistakes.keep_alive),)),
    Mutant("whoever has entered leads", "default", ((DefaultElection, "enter", mistakes.granted),)),
    Mutant("a token is used twice", "epochs", ((DefaultElection, "_raise_epoch", mistakes.same_token),)),
    Mutant("a term is counted without a second look", "epochs",
           ((DefaultElection, "_raise_epoch", mistakes.count_once),)),
    Mutant("suspended is told again and again", "default",
           ((Campaign, "_renewal_failed", mistakes.suspended_again),)),
    Mutant("nobody is told of a change", "default", ((TurnWatch, "wake", mistakes.nothing),)),
    Mutant("tries without a wait", "default", ((timing.Backoff, "next", mistakes.always(value=0.0)),)),
    Mutant("the release comes before the work has ended", "default",
           ((Tenure, "end_term", mistakes.drained_at_once),)),
    Mutant("stop says yes at once", "default", ((Candidate, "await_stop", mistakes.always(value=True)),)),
    Mutant("loose claims are forgotten", "default",
           ((Campaign, "_failed", mistakes.forgets_loose), (Sessions, "discard", mistakes.nothing))),
    Mutant("a resignation is lost", "default", ((Campaign, "step", mistakes.ignores(on.Resign)),)),
    Mutant("a phantom leads", "etcd", ((EtcdElection, "standing", mistakes.phantom),)),
    Mutant("a withdrawal of any claim of the lease", "etcd",
           ((EtcdElection, "_remove", mistakes.delete_own),)),
    Mutant("nobody is told that the one before is gone", "etcd", ((Turn, "follow", mistakes.nothing),)),
    Mutant("a sync that the leader has not heard of", "zookeeper",
           ((ZooKeeperSession, "renew", mistakes.sync_alone),)),
    Mutant("a ping in place of a sync", "zookeeper",
           ((ZooKeeperSession, "renew", mistakes.ping),)),
    Mutant("a connection that is replaced is a closed store", "zookeeper",
           ((reader, "StoreUnavailable", mistakes.closed),)),
]  # fmt: skip
