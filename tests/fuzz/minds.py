"""Servers that are wrong in one way, all the time."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from tests.fuzz.evil import Mind, Request, Wire, answer
from tests.fuzz.plausible import Plausible
from tests.fuzz.replies import BODIES, HEADERS, STATUSES, STREAMS, encoded

__all__ = ["FATAL", "HASTY", "MINDS", "honest"]

Said = tuple[str, Any, dict[str, str]]


def honest(leader: str | None = None) -> Mind:
    """No mistake in it: a long poll is held, a lock granted is kept."""
    plausible = Plausible(leader=leader)

    def mind(request: Request, wire: Wire) -> bool:
        said = plausible.say(request)
        if f"index={said[2]['X-Consul-Index']}&" in f"{request.query}&":
            wire.hold(30)
        return _send(said, wire)

    return mind


def _send(said: Said, wire: Wire) -> bool:
    status, document, headers = said
    wire.say(answer(status, encoded(document), headers))
    return True


def _twisted(twist: Callable[[Request, Said, int], Said], **options: Any) -> Mind:
    """Plausible, and at once, but for what the twist makes of it; that gets a growing number."""
    plausible, numbers = Plausible(**options), itertools.count(100)

    def mind(request: Request, wire: Wire) -> bool:
        return _send(twist(request, plausible.say(request), next(numbers)), wire)

    return mind


def _is_read(request: Request) -> bool:
    return request.method == "GET" and request.path.startswith("/v1/kv/")


def _is_lock(request: Request) -> bool:
    return request.path == "/v1/txn" and b'"lock"' in request.body


def _refusing(step: int, what: str) -> Mind:
    def twist(request: Request, said: Said, _: int) -> Said:
        if not _is_lock(request):
            return said
        return "409 Conflict", {"Results": None, "Errors": [{"OpIndex": step, "What": what}]}, {}

    return _twisted(twist)


def _reading(change: Callable[[dict[str, Any], int], object], *, grows: bool = True) -> Mind:
    """Every read finds the key, changed."""

    def twist(request: Request, said: Said, number: int) -> Said:
        if not _is_read(request):
            return said
        record: dict[str, Any] = said[1][0] if said[1] else Plausible(leader="x").record("fuzz/key")
        change(record, number)
        return "200 OK", [record], {"X-Consul-Index": str(number if grows else 50)}

    return _twisted(twist)


def _absent(request: Request, said: Said, number: int) -> Said:
    return ("404 Not Found", None, {"X-Consul-Index": str(number)}) if _is_read(request) else said


def _lost(request: Request, said: Said, _: int) -> Said:
    if "/session/renew" in request.path:
        return "404 Not Found", "Session id not found", {}
    return said


def _alternating(request: Request, said: Said, number: int) -> Said:
    """Now the key is locked, and now it is not."""
    record = Plausible(leader="x").record("fuzz/key") | {"ModifyIndex": number}
    if number % 2:
        record.pop("Session")
    return ("200 OK", [record], {"X-Consul-Index": str(number)}) if _is_read(request) else said


def _handing_over() -> Mind:
    """Others win and resign for ever, a step with each look, and are always a little faster.

    Nothing about it is wrong: no answer tells it from a Consul where that happens.
    """
    plausible, states = Plausible(leader="x"), itertools.count()
    state = [next(states)]

    def mind(request: Request, wire: Wire) -> bool:
        said = plausible.say(request)
        if "wait=" in request.query or _is_lock(request):
            state[0] = next(states)
        if _is_lock(request):
            refusal = {"OpIndex": 0, "What": "current modify index does not match"}
            said = "409 Conflict", {"Results": None, "Errors": [refusal]}, {}
        elif _is_read(request):
            index, count = 100 + state[0], state[0] // 2 + 1
            found = plausible.record("fuzz/key") | {"ModifyIndex": index, "LockIndex": count}
            if state[0] % 2:
                found.pop("Session", None)
            else:
                found["Session"] = f"s-{count}"
            said = "200 OK", [found], {"X-Consul-Index": str(index)}
        return _send(said, wire)

    return mind


def _indexed(index: Callable[[int], str]) -> Mind:
    return _twisted(lambda _, said, number: (*said[:2], {"X-Consul-Index": index(number)}))


def _always(status: str, body: bytes = b"", **headers: str) -> Mind:
    text = answer(status, body, {"X-Consul-Index": "5", **headers})

    def mind(_: Request, wire: Wire) -> bool:
        wire.say(text)
        return True

    return mind


def _at_random(seed: int, share: float) -> Mind:
    plausible, rng = Plausible(), random.Random(seed)
    wrong = [*BODIES, *STATUSES, *HEADERS, *STREAMS]

    def mind(request: Request, wire: Wire) -> bool:
        said = plausible.say(request)
        if rng.random() < share:
            return rng.choice(wrong).send(said, request, wire)
        return _send(said, wire)

    return mind


def _renewing(ttl: str) -> Mind:
    return _twisted(lambda _, said, __: said, ttl=ttl)


MINDS: Mapping[str, Callable[[], Mind]] = {
    "polls return at once": lambda: _twisted(lambda _, said, __: said),
    "the index grows by itself": lambda: _indexed(str),
    "the index falls": lambda: _indexed(lambda number: str(10**6 - number)),
    "the index is 0": lambda: _indexed(lambda _: "0"),
    "the index is negative": lambda: _indexed(lambda _: "-7"),
    "the index is huge": lambda: _indexed(lambda number: str(2**64 + number)),
    "the index jumps": lambda: _indexed(lambda number: str(random.Random(number).randrange(9**9))),
    "locks are refused": lambda: _refusing(1, "lock is already held by another session"),
    "the index never fits": lambda: _refusing(0, "failed index check"),
    "sessions are invalid": lambda: _refusing(1, 'invalid session "x"'),
    "sessions are lost": lambda: _twisted(_lost),
    "the key is never there": lambda: _twisted(_absent),
    "always another leader": lambda: _reading(
        lambda record, number: record.update(Session=f"s-{number}", ModifyIndex=number)
    ),
    "always another write": lambda: _reading(
        lambda record, number: record.update(ModifyIndex=number)
    ),
    "never locked": lambda: _reading(lambda record, _: record.pop("Session", None)),
    "never locked, always written": lambda: _reading(
        lambda record, number: (record.pop("Session", None), record.update(ModifyIndex=number))
    ),
    "others win and resign for ever": _handing_over,
    "now locked and now not": lambda: _twisted(_alternating),
    "the lock count is 0": lambda: _reading(lambda record, _: record.update(LockIndex=0)),
    "the token goes backwards": lambda: _reading(
        lambda record, number: record.update(Session="other", ModifyIndex=10**6 - number)
    ),
    **{
        f"a ttl of {ttl or 'nothing'}": (lambda ttl=ttl: _renewing(ttl))  # type: ignore[misc]
        for ttl in ("0s", "-1s", "1ns", "100ms", "2s", "5s", "16s", "9000000h", "9" * 400 + "h", "")
    },
    "500": lambda: _always("500 Internal Server Error", b"No cluster leader"),
    "500 invalid session": lambda: _always("500 Internal Server Error", b"invalid session"),
    "404": lambda: _always("404 Not Found"),
    "429": lambda: _always("429 Too Many Requests"),
    "a redirect": lambda: _always("301 Moved", Location="/"),
    "HTML": lambda: _always("200 OK", b"<html>"),
    "null": lambda: _always("200 OK", b"null"),
    "hangs up": lambda: lambda _, __: False,
    "resets": lambda: lambda _, wire: wire.reset(),
    "garbage": lambda: lambda _, wire: wire.say(b"\x00\xff garbage\r\n\r\n") or False,  # type: ignore[func-returns-value]
    **{
        f"{share:.0%} at random, {seed}": (lambda seed=seed, share=share: _at_random(seed, share))  # type: ignore[misc]
        for seed, share in ((1, 0.1), (2, 0.3), (3, 0.5), (4, 0.8), (5, 1.0))
    },
    "permission denied": lambda: _always("403 Forbidden", b"Permission denied"),
    "invalid ttl": lambda: _always(
        "400 Bad Request", json.dumps("Invalid Session TTL '15s'").encode()
    ),
}

FATAL = {
    "permission denied",
    "invalid ttl",
    # These look like another service's port as long as no session could be opened.
    "404",
    "a redirect",
    "garbage",
    "80% at random, 4",
    "100% at random, 5",
}
"""A person must mend these: who has never worked ends, and says why."""

HASTY = [
    "locks are refused",
    "the index never fits",
    "sessions are invalid",
    "sessions are lost",
    "the key is never there",
    "never locked",
    "now locked and now not",
    "others win and resign for ever",
    "50% at random, 3",
    "100% at random, 5",
    "500",
    "hangs up",
]
"""Those that make a candidate with a short ttl repeat itself: it tries again the sooner."""
