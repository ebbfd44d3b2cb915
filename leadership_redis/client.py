"""Client of Redis: calls of the script, checks at the first contact, and confirmation by replicas."""

from __future__ import annotations

import hashlib
import logging
import re
from importlib.resources import files
from typing import Any

from redis import exceptions

from leadership_core.backend import (
    StoreRefused,
    StoreUnavailable,
    remaining_timeout,
    single_timeout,
)

from .errors import OLDEST, NotPrimary, refused, unknown_answer
from .options import Options
from .transport import Transport

__all__ = ["Client"]

log: logging.Logger = logging.getLogger(__name__)

_SCRIPT = files(__package__).joinpath("script.lua").read_text("utf-8")
_SHA = hashlib.sha1(_SCRIPT.encode()).hexdigest()  # noqa: S324 - the name that Redis gives to a script
_WAIT_SHARE = 0.8  # of the remaining time, for which replicas may confirm


class Client:
    """Executes the requests of `script.lua`; thread-safe.

    Args:
        options: of the store.

    Attributes:
        options: as given.
        transport: of all requests.
        channel: of the notifications.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.transport: Transport = Transport(options)
        tag = f"{{{options.tag}}}"
        self.channel: str = f"{tag}:changes"
        names = ("entries", "index", "sessions", "bound", "revision", "guard")
        self._keys = [f"{tag}:{name}" for name in names]
        self._contacted = False

    @single_timeout()
    def call(self, request: str, *arguments: str | bytes | int) -> Any:
        """Execute one request of the script; blocks for `remaining_timeout` at most.

        Raises:
            StoreRefused: a person has to change something.
            NotApplied: it was not executed.
            StoreUnavailable: no answer, or not enough replicas have confirmed it.
        """
        if not self._contacted:
            self._contact()
        return self._call(request, *arguments)

    def close(self) -> None:
        """Abort every request under way, and let no other begin."""
        self.transport.close()

    def after_fork_in_child(self) -> None:
        """Let no request begin; takes no lock, and touches no socket."""
        self.transport.after_fork_in_child()

    def _call(self, request: str, *arguments: str | bytes | int) -> Any:
        wait = self.options.wait
        rest = (
            len(self._keys), *self._keys, request, self.channel, "1" if wait else "0", *arguments,
        )  # fmt: skip
        answers = self.transport.request([("EVALSHA", _SHA, *rest), *self._confirmation()])
        if isinstance(answers[0], exceptions.NoScriptError):
            # The server was restarted or replaced, or its scripts were flushed.
            answers = self.transport.request([("EVAL", _SCRIPT, *rest), *self._confirmation()])
        answer = answers[0]
        if isinstance(answer, Exception):
            raise unknown_answer("Redis", answer)
        if wait:
            self._check_confirmation(answers[1])
        return answer

    def _confirmation(self) -> list[tuple[Any, ...]]:
        if not self.options.wait:
            return []
        milliseconds = max(1, int(remaining_timeout() * _WAIT_SHARE * 1000))  # 0 means no limit
        return [("WAIT", self.options.wait, milliseconds)]

    def _check_confirmation(self, answer: Any) -> None:
        wanted = self.options.wait
        if isinstance(answer, Exception):
            try:
                problem = refused("Redis", answer)
            except NotPrimary as error:
                problem = StoreUnavailable(str(error))
            # The script was executed, so this must not pass for "not applied".
            kind = StoreRefused if type(problem) is StoreRefused else StoreUnavailable
            raise kind(f"wait={wanted}: {problem}")
        if not isinstance(answer, int) or answer < wanted:
            raise StoreUnavailable(
                f"{answer} of the {wanted} replicas of wait={wanted} have confirmed the request in "
                "time: it may be lost in a failover"
            )

    def _contact(self) -> None:
        """Check the server's release, its settings as far as they may be read, and the user's rights."""
        # A short command first: a server that wants a password cuts off one with many words, and so may
        # a server that is no Redis. Redis answers that it has no such script.
        self.transport.request([("EVALSHA", "0" * len(_SHA), 0)])
        # The second command needs a right that nothing else needs: its answer may be an error.
        probe = (len(self._keys), *self._keys, "probe", self.channel, "0")
        answers = self.transport.request([("EVAL", _SCRIPT, *probe), ("INFO",)])
        answer, info = answers
        if answer != [b"ok"]:
            raise unknown_answer("Redis", answer)
        if isinstance(info, bytes):
            self._check_info(info.decode("utf-8", "replace"))
        self._contacted = True

    def _check_info(self, info: str) -> None:
        found = dict(re.findall(r"^(\w+):(.*?)\r?$", info, re.MULTILINE))
        version = tuple(
            int(part) for part in re.findall(r"\d+", found.get("redis_version", ""))[:2]
        )
        if version and version < (6, 2):
            raise StoreRefused(f"this is Redis {found['redis_version']}; {OLDEST}")
        policy = found.get("maxmemory_policy", "")
        if found.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
            log.warning(
                "Redis deletes any key when its memory is full (maxmemory-policy %s), also those of elections, "
                "so that two candidates may lead: set it to noeviction, or to one of volatile-*",
                policy,
            )
        if found.get("aof_enabled") == "0":
            log.warning(
                "Redis writes no append-only file (appendonly no): a crash loses its last writes, "
                "after which two candidates may lead for a moment: set appendonly yes"
            )
