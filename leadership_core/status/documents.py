"""Documents: what is known of an election as plain values for JSON."""

from __future__ import annotations

import time

from ..backend import clock
from .history import ElectionRecord, TermRecord
from .members import full_lease_of

__all__ = ["election_document", "leader_document", "pulse_of"]

_LONGEST = 200  # characters of a value on the page


def leader_document(election: ElectionRecord) -> dict[str, object]:
    """The leader of the election: what `/leader` answers."""
    leading, seen = election.leading, election.leader
    value: str | None = None
    token: int | None = None
    lease_left: float | None = None
    age: float | None = None
    if leading is not None and leading.term is not None:
        value, token = leading.value, leading.term.token
        lease_left = leading.term.remaining()
        age = max(0.0, full_lease_of(leading.term) - lease_left)
    elif seen is not None:
        value, token, age = seen.value, seen.token, max(0.0, seen.age)
    record = None if token is None else election.term_of(token)
    return {
        "key": election.key,
        "value": value,
        "token": token,
        "me": leading is not None,
        "since": None if record is None else _rounded(record.began),
        "since_exact": None if record is None else record.exact,
        "lease_left": _rounded(lease_left),
        "age": _rounded(age),
        "no_leader_since": _rounded(election.vacant_since) if value is None else None,
        "known": election.known or leading is not None,
        "store": election.store,
        "store_answers": election.store_answers,
        "store_error": election.error,
        "candidates": [
            {"value": one.value, "state": one.state, "ttl": one.ttl} for one in election.candidates
        ],
    }


def election_document(number: int, election: ElectionRecord) -> dict[str, object]:
    """All that the page shows of the election; long values are cut.

    Args:
        number: of the election on this page.
        election: its record.
    """
    document = leader_document(election)
    leading = election.leading
    lease = None if leading is None or leading.term is None else full_lease_of(leading.term)
    value = document["value"]
    return document | {
        "id": number,
        "now": _rounded(time.time()),
        "value": _short(value) if isinstance(value, str) else None,
        "lease_full": _rounded(lease),
        "stopped": election.stopped,
        "watched_since": _rounded(election.watched_since),
        "candidates": [
            {"value": _short(one.value), "state": one.state, "ttl": one.ttl, "error": one.error}
            for one in election.candidates
        ],
        "terms": [_term(one) for one in election.terms],
        "outages": [
            {"began": _rounded(one.began), "ended": _rounded(one.ended)} for one in election.outages
        ],
    }


def pulse_of(election: ElectionRecord) -> float:
    """A time of the clock that moves when the lease is renewed, or the leader is confirmed."""
    leading, seen = election.leading, election.leader
    if leading is not None and leading.term is not None:
        return clock.now() + leading.term.remaining()
    return 0.0 if seen is None else seen.confirmed_at


def _term(term: TermRecord) -> dict[str, object]:
    return {
        "value": _short(term.value),
        "token": term.token,
        "began": _rounded(term.began),
        "exact": term.exact,
        "ended": _rounded(term.ended),
        "ending": term.ending,
        "mine": term.mine,
    }


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
