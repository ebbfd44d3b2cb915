"""Player of this library."""

from __future__ import annotations

from leadership_core import Candidate, Follower, LeaderChanged, Store, open_store
from leadership_core.observers import CandidateTransition, Record, hookimpl, observe

from .player import COOLDOWN, Player, print_event

__all__ = ["PLAYER"]


class _Ours(Player):
    """Candidates of one store; one observer reports all elections, so none needs a thread."""

    _store: Store
    _candidates: dict[str, Candidate]
    _leader: Candidate | None = None
    _followers: list[Follower]

    def prepare(self) -> None:
        self._candidates, self._followers = {}, []
        self._store = open_store(self.settings.url)
        observe(self)

    @hookimpl
    def leadership_observe(self, record: Record) -> None:
        """Report an election."""
        if isinstance(record, CandidateTransition) and record.event == "elected":
            index = int(record.value.rpartition("-")[2])
            self._leader = self._candidates[f"{record.key} {index}"]
            self.elected(index, record.key)

    def join(self, key: str, count: int) -> None:
        for index in range(count):
            self._start_candidate(key, index)

    def elections(self, prefix: str, count: int) -> None:
        self._wanted = count
        for index in range(count):
            self._start_candidate(f"{prefix}/{index}", index)

    def resign(self) -> None:
        if self.ending.is_set():
            return
        if self._leader is not None:
            self._leader.resign(cooldown=COOLDOWN)

    def follow(self, key: str) -> None:
        follower = Follower(self._store, key)
        self._followers.append(follower)

        def report(event: object) -> None:
            if isinstance(event, LeaderChanged) and event.leader is not None:
                print_event("leader", event.leader)

        follower.add_listener(report)
        follower.start()

    def close(self) -> None:
        self._store.close(4.0)

    def _start_candidate(self, key: str, index: int) -> None:
        candidate = Candidate(self._store, key, f"candidate-{index}", ttl=self.settings.ttl)
        self._candidates[f"{key} {index}"] = candidate
        candidate.start()


PLAYER = _Ours
