"""One reign of a candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import clock
from .errors import ConfigurationError, LeadershipLost, StoreUnavailable
from .timing import check_timeout, is_seconds, shown

if TYPE_CHECKING:
    from .term_state import TermState

__all__ = ["Term", "parse_fence"]


class Term:
    """What a leader holds: from `Elected` to `Lost` or `Resigned`.

    Whether it stands is computed from the clock at each call, so after a pause that outlived
    the lease the very first call says that it is over. All methods may be called from any
    thread.
    """

    __slots__ = ("__weakref__", "_state")

    def __init__(self, state: TermState) -> None:
        self._state = state

    @property
    def key(self) -> str:
        """The election's key, without the prefix of the store's URL."""
        return self._state.key

    @property
    def token(self) -> int:
        """The fencing token: larger than that of every earlier term of this election."""
        return self._state.token

    @property
    def lost(self) -> bool:
        """Whether the term is over at this moment, for whatever reason."""
        return not self._state.stands()

    def remaining(self) -> float:
        """Seconds for which the term stands even if the store is not heard of again."""
        state = self._state
        return 0.0 if state.ended else state.lease.remaining()

    def check(self) -> None:
        """Return if the term stands at this moment.

        Raises:
            LeadershipLost: it is over.
        """
        if self.lost:
            why = self._state.why_over
            raise LeadershipLost(f"term {self.token} of {self.key} is over: {why}")

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
        lease = self._state.lease
        most = lease.longest
        if seconds >= most:
            raise ConfigurationError(
                f"{seconds:g} s cannot be ensured: "
                f"a ttl of {lease.ttl:g} s leaves less than {most:g} s"
            )
        if self.remaining() >= seconds:
            return
        self._state.renew(seconds, lease.request_limit())
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
            self._state.over.wait_for(lambda: self.lost, left)
        return self.lost

    @property
    def fence(self) -> str:
        """The term in a few printable characters, for `put(..., fence=...)` elsewhere."""
        return f"{self.token}:{self.key}"

    def __repr__(self) -> str:
        return f"<Term {self.token} of {self.key}, {'over' if self.lost else 'stands'}>"


def parse_fence(fence: Term | str) -> tuple[str, int]:
    """Take a fence apart into the election's key and the token."""
    if not isinstance(fence, Term | str):
        raise ConfigurationError(f"a fence is a Term or its .fence, not {fence!r}")
    token, colon, key = (fence.fence if isinstance(fence, Term) else fence).partition(":")
    if not (colon and key and token.isascii() and token.isdigit()):
        raise ConfigurationError(f"not a fence of a term: {fence!r}")
    return key, int(token)
