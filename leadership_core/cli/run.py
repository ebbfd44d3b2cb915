"""`leadership run`: runs a command while it leads, and only then."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

from ..candidate import Candidate
from ..engine.store_base import internals
from ..engine.timing import safety_margin
from ..errors import LeadershipError
from ..events import CandidateEvent
from . import output
from .arguments import Arguments
from .background_output import BackgroundOutput
from .command import ENVIRONMENT_URL
from .guarded_child import GuardedChild
from .mailbox import Mailbox
from .opening import StartupTimeout, open_shared_store
from .run_loop import RunLoop
from .run_messages import SOURCE, RunMessages
from .status import serving
from .supervisor import CandidateEnded
from .terminal import Terminal

__all__ = ["run"]

_GRACE = 10.0  # seconds
_CLOSE_SECONDS = 5.0
_ALWAYS_HANDLED = (signal.SIGTERM, signal.SIGINT)
_HANDLED_UNLESS_IGNORED = (
    *(signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH),
)
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}


def run(arguments: Arguments) -> int:
    """Run the command while this process leads; returns the exit code."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: otherwise the next file that is opened would take its place
            os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - takes no keyword
    if (code := _unusable(arguments.child[0])) != 0:
        return code
    value = arguments.value or f"{socket.gethostname()}-{os.getpid()}"
    grace = _GRACE if arguments.grace is None else arguments.grace
    store = open_shared_store(arguments.url)
    try:
        candidate = Candidate(
            store, arguments.key, value, ttl=arguments.ttl, margin=arguments.margin
        )
    except LeadershipError:  # an invalid argument
        store.close(0)
        raise
    ignored = {
        int(number)
        for number in signal.valid_signals()
        if signal.getsignal(number) is signal.SIG_IGN
    } - _IGNORED_BY_PYTHON
    handled = [number for number in _HANDLED_UNLESS_IGNORED if number not in ignored]
    environment = {
        **os.environ,
        ENVIRONMENT_URL: str(store.url),  # without its secrets
        "LEADERSHIP_KEY": candidate.key,
        "LEADERSHIP_VALUE": value,
    }
    child = GuardedChild(arguments.child, environment, grace, ignored - set(_ALWAYS_HANDLED))
    mailbox: Mailbox[CandidateEvent | CandidateEnded] = Mailbox(*_ALWAYS_HANDLED, *handled)
    with BackgroundOutput(), Terminal() as terminal, mailbox, store:
        messages = RunMessages(candidate, as_json=arguments.json)
        if arguments.grace is not None:
            least = internals(store).engine.least_margin
            margin = safety_margin(arguments.ttl, arguments.margin, least)
            messages.warn_of_grace(grace, arguments.ttl, arguments.ttl - margin)
        with (
            StartupTimeout(store, arguments.timeout, lambda: candidate.stop(0)) as timeout,
            serving(arguments, candidate),
        ):
            loop = RunLoop(
                *(candidate, child, terminal, mailbox, messages, timeout),
                grace=grace,
                once=arguments.once,
            )
            code = 1
            try:
                with child:
                    finish = loop.run()
                code = finish.code
            finally:
                loop.end_work()  # the child has ended, whatever has happened
                # To close is bounded, unless memory has run out in it: the claim ends with its lease.
                mailbox.exit_on_signals(2 * _CLOSE_SECONDS, code)
            if finish.error is not None:
                raise finish.error
            timeout.check()
        worked = internals(store).engine.has_worked
        if not store.close(_CLOSE_SECONDS if worked else 0.0) and worked:
            output.print_error(
                SOURCE,
                f"{store.url} has not confirmed the release: the claim expires within "
                f"{store.expires_within(arguments.ttl):g} s",
            )
    return code


def _unusable(command: str) -> int:
    """Return the exit code if the command cannot be executed, and 0 if it can."""
    if shutil.which(command) is not None:
        return 0
    path = Path(command)
    if "/" not in command or not path.exists():
        output.print_error(SOURCE, f"{command!r} does not exist: nothing was done")
        return 127
    output.print_error(SOURCE, f"{command!r} is not executable: nothing was done")
    return 126
