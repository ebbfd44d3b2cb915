"""Behaviours of faulty Consul servers, each wrong in one way."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from tests.fuzz.hostile_server import Behaviour, Request, Wire, answer
from tests.fuzz.replies import BODIES, HEADERS, STATUSES, STREAMS, encoded
from tests.fuzz.valid_replies import ValidReplies

__all__ = ["BEHAVIOURS", "FATAL", "HASTY", "honest"]

Answer = tuple[str, Any, dict[str, str]]


def honest(leader: str | None = None) -> Behaviour:
    """A correct server: a long poll is held, a granted lock is kept."""
    valid = ValidReplies(leader=leader)

    def behaviour(request: Request, wire: Wire) -> bool:
        valid_answer = valid.say(request)
        if f"index={valid_answer[2]['X-Consul-Index']}&" in f"{request.query}&":
            wire.hold(30)
        return _send(valid_answer, wire)

    return behaviour


def _send(valid_answer: Answer, wire: Wire) -> bool:
    status, document, headers = valid_answer
    wire.say(answer(status, encoded(document), headers))
    return True


def _altered(alter: Callable[[Request, Answer, int], Answer], **options: Any) -> Behaviour:
    """Valid answers at once, changed by `alter`, which also gets a growing number."""
    valid, numbers = ValidReplies(**options), itertools.count(100)

    def behaviour(request: Request, wire: Wire) -> bool:
        return _send(alter(request, valid.say(request), next(numbers)), wire)

    return behaviour


def _is_read(request: Request) -> bool:
    return request.method == "GET" and request.path.startswith("/v1/kv/")


def _is_lock(request: Request) -> bool:
    return request.path == "/v1/txn" and b'"lock"' in request.body


def _refusing(step: int, what: str) -> Behaviour:
    def alter(request: Request, valid_answer: Answer, _: int) -> Answer:
        if not _is_lock(request):
            return valid_answer
        return "409 Conflict", {"Results": None, "Errors": [{"OpIndex": step, "What": what}]}, {}

    return _altered(alter)


def _reading(change: Callable[[dict[str, Any], int], object], *, grows: bool = True) -> Behaviour:
    """Every read finds the key, changed."""

    def alter(request: Request, valid_answer: Answer, number: int) -> Answer:
        if not _is_read(request):
            return valid_answer
        record: dict[str, Any] = (
            valid_answer[1][0] if valid_answer[1] else ValidReplies(leader="x").record("fuzz/key")
        )
        change(record, number)
        return "200 OK", [record], {"X-Consul-Index": str(number if grows else 50)}

    return _altered(alter)


def _absent(request: Request, valid_answer: Answer, number: int) -> Answer:
    return (
        ("404 Not Found", None, {"X-Consul-Index": str(number)})
        if _is_read(request)
        else valid_answer
    )


def _lost(request: Request, valid_answer: Answer, _: int) -> Answer:
    if "/session/renew" in request.path:
        return "404 Not Found", "Session id not found", {}
    return valid_answer


def _alternating(request: Request, valid_answer: Answer, number: int) -> Answer:
    """The key is locked at every second read."""
    record = ValidReplies(leader="x").record("fuzz/key") | {"ModifyIndex": number}
    if number % 2:
        record.pop("Session")
    return (
        ("200 OK", [record], {"X-Consul-Index": str(number)}) if _is_read(request) else valid_answer
    )


def _handing_over() -> Behaviour:
    """Other candidates win and resign without end, one step with each read, and are always faster.

    No answer is wrong: it could be a real Consul.
    """
    valid, states = ValidReplies(leader="x"), itertools.count()
    state = [next(states)]

    def behaviour(request: Request, wire: Wire) -> bool:
        valid_answer = valid.say(request)
        if "wait=" in request.query or _is_lock(request):
            state[0] = next(states)
        if _is_lock(request):
            refusal = {"OpIndex": 0, "What": "current modify index does not match"}
            valid_answer = "409 Conflict", {"Results": None, "Errors": [refusal]}, {}
        elif _is_read(request):
            index, count = 100 + state[0], state[0] // 2 + 1
            found = valid.record("fuzz/key") | {"ModifyIndex": index, "LockIndex": count}
            if state[0] % 2:
                found.pop("Session", None)
            else:
                found["Session"] = f"s-{count}"
            valid_answer = "200 OK", [found], {"X-Consul-Index": str(index)}
        return _send(valid_answer, wire)

    return behaviour


def _always_free_again() -> Behaviour:
    """Each answer shows another free state of the key, and each request to lock it comes too late.

    So each answer is a hand-over that was missed.
    """
    valid, states = ValidReplies(leader="x"), itertools.count(100)

    def behaviour(request: Request, wire: Wire) -> bool:
        valid_answer = valid.say(request)
        if _is_lock(request):
            refusal = {"OpIndex": 0, "What": "current modify index does not match"}
            valid_answer = "409 Conflict", {"Results": None, "Errors": [refusal]}, {}
        elif _is_read(request):
            index = next(states)
            found = valid.record("fuzz/key") | {"ModifyIndex": index, "LockIndex": index}
            found.pop("Session", None)
            valid_answer = "200 OK", [found], {"X-Consul-Index": str(index)}
        return _send(valid_answer, wire)

    return behaviour


def _indexed(index: Callable[[int], str]) -> Behaviour:
    return _altered(
        lambda _, valid_answer, number: (*valid_answer[:2], {"X-Consul-Index": index(number)})
    )


def _always(status: str, body: bytes = b"", **headers: str) -> Behaviour:
    text = answer(status, body, {"X-Consul-Index": "5", **headers})

    def behaviour(_: Request, wire: Wire) -> bool:
        wire.say(text)
        return True

    return behaviour


def _at_random(seed: int, share: float) -> Behaviour:
    valid, rng = ValidReplies(), random.Random(seed)
    wrong = [*BODIES, *STATUSES, *HEADERS, *STREAMS]

    def behaviour(request: Request, wire: Wire) -> bool:
        valid_answer = valid.say(request)
        if rng.random() < share:
            return rng.choice(wrong).send(valid_answer, request, wire)
        return _send(valid_answer, wire)

    return behaviour


def _renewing(ttl: str) -> Behaviour:
    return _altered(lambda _, valid_answer, __: valid_answer, ttl=ttl)


BEHAVIOURS: Mapping[str, Callable[[], Behaviour]] = {
    "polls return at once": lambda: _altered(lambda _, valid_answer, __: valid_answer),
    "the index grows by itself": lambda: _indexed(str),
    "the index falls": lambda: _indexed(lambda number: str(10**6 - number)),
    "the index is 0": lambda: _indexed(lambda _: "0"),
    "the index is negative": lambda: _indexed(lambda _: "-7"),
    "the index is huge": lambda: _indexed(lambda number: str(2**64 + number)),
    "the index jumps": lambda: _indexed(lambda number: str(random.Random(number).randrange(9**9))),
    "locks are refused": lambda: _refusing(1, "lock is already held by another session"),
    "the index never fits": lambda: _refusing(0, "failed index check"),
    "sessions are invalid": lambda: _refusing(1, 'invalid session "x"'),
    "sessions are lost": lambda: _altered(_lost),
    "the key is never there": lambda: _altered(_absent),
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
    "others win and resign without end": _handing_over,
    "others have won and resigned in each answer": _always_free_again,
    "locked at every second read": lambda: _altered(_alternating),
    "the lock count is 0": lambda: _reading(lambda record, _: record.update(LockIndex=0)),
    "the token goes backwards": lambda: _reading(
        lambda record, number: record.update(Session="other", ModifyIndex=10**6 - number)
    ),
    **{
        f"a ttl of {ttl or 'nothing'}": (lambda ttl=ttl: _renewing(ttl))  # type: ignore[misc]  # mypy infers no lambda with defaults
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
        f"{share:.0%} at random, {seed}": (lambda seed=seed, share=share: _at_random(seed, share))  # type: ignore[misc]  # mypy infers no lambda with defaults
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
    # These look like another service's port as long as no session was opened.
    "404",
    "a redirect",
    "garbage",
    "80% at random, 4",
    "100% at random, 5",
}
"""Lasting errors: a candidate that has never worked ends with the reason."""

HASTY = [
    "locks are refused",
    "the index never fits",
    "sessions are invalid",
    "sessions are lost",
    "the key is never there",
    "never locked",
    "locked at every second read",
    "others win and resign without end",
    "50% at random, 3",
    "100% at random, 5",
    "500",
    "hangs up",
]
"""Behaviours that make a candidate with a short ttl retry sooner."""
