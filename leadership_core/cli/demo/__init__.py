"""`leadership demo`: three candidates, and all that may happen to a leader."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from ...errors import ConfigurationError, LeadershipError
from ...handle import open_store
from .. import console
from ..arguments import Arguments, Command
from ..grants import choose_ttl
from ..interrupts import interruptible
from ..narrator import Narrator
from ..opening import check_shared
from ..patience import within
from ..troupe import Troupe
from .story import Story

__all__ = ["COMMAND"]

_TTLS = (3.0, 10.0)  # the first one that the store takes; 10 is the least on many a Consul
_LONGEST_EXPIRY = 24.0  # seconds; two leases have to end, and all of it within a minute


def _run(arguments: Arguments) -> int:
    try:
        with interruptible(), _url(arguments) as url:
            _show(url, arguments)
    except BrokenPipeError:
        console.silence()
        return 1  # nobody has seen all of it
    return 0


def _show(url: str, arguments: Arguments) -> None:
    store = open_store(url)
    key = f"leadership-demo/{secrets.token_hex(4)}"
    narrator = Narrator(as_json=arguments.json)
    try:
        ttl = choose_ttl(store, _TTLS, arguments.timeout)
        expires = store.expires_within(ttl)
        if expires > _LONGEST_EXPIRY:
            raise ConfigurationError(
                f"{store.url} frees the claim of a dead leader only after {expires:g} s, which is"
                f" too long for a demo: it must be {_LONGEST_EXPIRY:g} s at most"
            )
        narrator.tell(
            "store",
            f"An election on {store.url}, key {key}, with a ttl of {ttl:g} s.",
            url=store.url,
            key=key,
            ttl=ttl,
        )
        try:
            with Troupe(url, key, ttl) as troupe:
                Story(troupe, narrator, expires).run()
        finally:
            with contextlib.suppress(LeadershipError):  # as well as can be: it is the demo's own
                within(store, arguments.timeout, lambda: store.delete(key))
    finally:
        store.close(0.5)


@contextlib.contextmanager
def _url(arguments: Arguments) -> Iterator[str]:
    """The store that was asked for, or one in a temporary folder."""
    if arguments.url is None:
        with tempfile.TemporaryDirectory(prefix="leadership-demo-") as folder:
            yield f"sqlite:///{quote(str(Path(folder, 'demo.db')))}"
        return
    check_shared(arguments.url)
    yield arguments.url_text


COMMAND = Command(
    name="demo",
    summary="watch an election: a crash, a pause, a resignation",
    description=(
        "Starts three candidates, kills the leader, pauses the next one past its lease, lets the\n"
        "next one resign, and says what it sees. Takes less than a minute. Without a URL it is an\n"
        "election on an embedded store in a temporary folder; on a store of yours it uses a key\n"
        "of its own, and removes it."
    ),
    words=("[URL]",),
    run=_run,
)
