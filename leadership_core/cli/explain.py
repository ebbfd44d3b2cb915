"""`leadership explain`: what a ttl means on this store, in seconds."""

from __future__ import annotations

from dataclasses import asdict

from ..handle import open_store
from ..internals import internals
from ..timing import margin_for
from . import console
from .arguments import Arguments, Command
from .forecast import Forecast, forecast
from .grants import granted_ttl
from .patience import within

__all__ = ["COMMAND"]

_LEAST_REQUEST = 0.01  # seconds; a busy machine does not do better reliably


def _run(arguments: Arguments) -> int:
    assert arguments.url is not None
    store = open_store(arguments.url)
    try:
        least_margin = internals(store).engine.least_margin
        margin_for(arguments.ttl, arguments.margin, least_margin)  # before anybody is contacted
        granted, request = within(
            store, arguments.timeout, lambda: granted_ttl(store, arguments.ttl), retry=True
        )
        result = forecast(
            arguments.ttl,
            granted,
            margin=arguments.margin,
            least_margin=least_margin,
            expires_within=store.expires_within(granted),
            request=max(_LEAST_REQUEST, 2 * request),
        )
    finally:
        store.close(0.2)
    if arguments.json:
        fields = {name: round(seconds, 3) for name, seconds in asdict(result).items()}
        console.put_record(url=store.url, **fields)
    else:
        _show(store.url, result)
    return 0


def _show(url: str, what: Forecast) -> None:
    console.put(f"{url} with a ttl of {what.ttl_asked:g} s, in seconds:")
    for heading, lines in _paragraphs(what):
        console.put(f"\n{heading}")
        for seconds, meaning in lines:
            console.put(f"{seconds:9.2f}  {meaning}")


def _paragraphs(what: Forecast) -> list[tuple[str, list[tuple[float, str]]]]:
    return [
        (
            "The lease",
            [
                (what.ttl_granted, "the ttl that the store grants"),
                (what.renewal_latest, "at the latest after this time a leader renews it again"),
                (what.margin, "the margin: so long before its end a leader stops believing"),
                (what.belief, "a leader believes no longer than this after it sent a renewal"),
            ],
        ),
        (
            f"An outage of the store, or of the way to it (requests take up to {what.request:.2f})",
            [
                (what.outage_sure, "is ridden out for sure: the leader stays the leader"),
                (what.outage_best, "may be ridden out, if it begins right after a renewal"),
            ],
        ),
        (
            "Until another one leads",
            [
                (what.crash_latest, "at the latest after the leader has died"),
                (what.crash_earliest, "at the earliest after that"),
                (what.resign, "about, after it has resigned or stopped: no ttl is waited for"),
            ],
        ),
        (
            "When the leader is cut off from the store",
            [
                (what.partition_belief, "it has stopped believing at the latest after this time"),
                (what.partition_others, "the others may elect at the latest after this time"),
            ],
        ),
    ]


COMMAND = Command(
    name="explain",
    summary="print what a ttl means on this store, in seconds",
    description="Opens a session on the store and closes it again, and prints what follows from the\n"
    "ttl that it was granted: how long a leader may believe, which outage it survives, and\n"
    "how soon another one leads.",
    words=("URL",),
    lease=True,
    run=_run,
)
