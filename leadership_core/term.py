"""One reign of a candidate."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import clock
from .errors import ConfigurationError, LeadershipLost, StoreUnavailable
from .timing import check_timeout, is_seconds, shown

if TYPE_CHECKING:
    from .lease import Lease

__all__ = ["Term", "parse_fence"]


class Term:
    """What a leader holds: from `Elected` to `Lost` or `Resigned`.

    Whether it stands is computed from the clock at each call, so after a pause that outlived
    the lease the very first call says that it is over. All methods may be called from any
    thread.

    Attributes:
        key: the election's key, without the prefix of the store's URL.
        token: the fencing token: larger than that of every earlier term of this election.
    """

    __slots__ = (
        "_ended",
        "_lease",
        "_lock",
        "_over",
        "_renew",
        "_workers",
        "key",
        "released",
        "token",
    )

    def __init__(
        self, key: str, token: int, lease: Lease, renew: Callable[[float, float], None]
    ) -> None:
        self.key = key
        self.token = token
        self.released: bool | None = None  # what came of the release, once that is known
        self._lease = lease
        self._renew = renew
        self._ended = False
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._workers: set[int] = set()  # threads

    def stands(self) -> bool:
        """Whether the term is not over at this moment."""
        return not self._ended and self._lease.holds()

    @property
    def lost(self) -> bool:
        """Whether the term is over at this moment, for whatever reason."""
        return self._ended or not self._lease.holds()

    def remaining(self) -> float:
        """Seconds for which the term stands even if the store is not heard of again."""
        return 0.0 if self._ended else self._lease.remaining()

    def check(self) -> None:
        """Return if the term stands at this moment.

        Raises:
            LeadershipLost: it is over.
        """
        if self.lost:
            raise LeadershipLost(f"term {self.token} of {self.key} is over")

    def ensure(self, seconds: float) -> None:
        """Make sure that the term stands for that long: renew now unless that much is left.

        Blocks for one renewal, at most a third of the ttl.

        Args:
            seconds: how long the work ahead takes; less than the ttl less the margin.

        Raises:
            LeadershipLost: the term is over.
            StoreUnavailable: no renewal was acknowledged in time; the term still stands.
            ConfigurationError: a lease of this ttl is never that long.
        """
        if not is_seconds(seconds) or seconds < 0:
            raise ConfigurationError(f"what is to be ensured is seconds, not {shown(seconds)}")
        self.check()
        most = self._lease.longest
        if seconds >= most:
            raise ConfigurationError(
                f"{seconds:g} s cannot be ensured: "
                f"a ttl of {self._lease.ttl:g} s leaves less than {most:g} s"
            )
        if self.remaining() >= seconds:
            return
        self._renew(seconds, self._lease.request_limit())
        self.check()
        if self.remaining() < seconds:
            raise StoreUnavailable(
                f"no renewal was acknowledged: {self.remaining():.1f} s of {seconds:g} s are left"
            )

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Block until the term is over, or `timeout` seconds have passed; says which."""
        timeout = check_timeout(timeout)
        until = None if timeout is None else clock.now() + timeout
        while not self.lost:
            left = self.remaining()
            if until is not None:
                left = min(left, until - clock.now())
                if left <= 0:
                    break
            self._over.wait(left)
        return self.lost

    @property
    def fence(self) -> str:
        """The term in a few printable characters, for `put(..., fence=...)` elsewhere."""
        return f"{self.token}:{self.key}"

    def __repr__(self) -> str:
        return f"<Term {self.token} of {self.key}, {'over' if self.lost else 'stands'}>"

    # -- for the engine and the candidate ----------------------------------------------------

    def begin_work(self) -> bool:
        """Note that this thread works for the term; False if it is over already."""
        with self._lock:
            if self.lost:
                return False
            self._workers.add(threading.get_ident())
            return True

    def end_work(self) -> bool:
        """This thread's work has ended; True if it was the last of a term that had ended before."""
        with self._lock:
            self._workers.discard(threading.get_ident())
            return self._ended and not self._workers

    @property
    def working(self) -> bool:
        """Whether any thread works for the term."""
        return bool(self._workers)

    @property
    def works_here(self) -> bool:
        """Whether the calling thread is the one that works for the term."""
        return threading.get_ident() in self._workers

    def end(self) -> bool:
        """The term is over; True if work of it is still going on."""
        with self._lock:
            self._ended = True
            self._over.set()
            return bool(self._workers)


def parse_fence(fence: Term | str) -> tuple[str, int]:
    """Take a fence apart into the election's key and the token."""
    if not isinstance(fence, Term | str):
        raise ConfigurationError(f"a fence is a Term or its .fence, not {fence!r}")
    token, colon, key = (fence.fence if isinstance(fence, Term) else fence).partition(":")
    if not (colon and key and token.isascii() and token.isdigit()):
        raise ConfigurationError(f"not a fence of a term: {fence!r}")
    return key, int(token)
