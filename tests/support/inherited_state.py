"""Reset of the state that a test run inherits from its parent process.

A shell without job control starts a background command with SIGINT ignored, `nohup` ignores
SIGHUP, and both are handed on to every process that a test starts. So are blocked signals, the
umask, and environment variables that clients, Python and the command `leadership` read.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["reset"]

_UMASK = 0o022

# By their beginnings. What configures the tests themselves (LEADERSHIP_FUZZ, LEADERSHIP_MUTANT)
# stays, and so does what installs packages (PIP_, HTTPS_PROXY).
_VARIABLES = (
    "LEADERSHIP_URL",
    "CONSUL_",
    "ETCD_",
    "ETCDCTL_",
    "ZOO",
    "SERVER_JVMFLAGS",
    "CLIENT_JVMFLAGS",
    "JVMFLAGS",
    "PYTHONSAFEPATH",
    "PYTHONIOENCODING",
    "PYTHONUTF8",
    "PYTHONWARNINGS",
    "PYTHONINSPECT",
    "PYTHONUNBUFFERED",
    "PYTHONOPTIMIZE",
    "PYTHONDEVMODE",
    "LC_",
    "LANG",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
)


def reset() -> None:
    """Give child processes default signals, umask and environment from now on."""
    for number in signal.valid_signals():
        # Python itself ignores SIGPIPE and SIGXFSZ; `subprocess` restores both.
        if number in {signal.SIGPIPE, signal.SIGXFSZ}:
            continue
        if signal.getsignal(number) is signal.SIG_IGN:
            # A handler, unlike SIG_IGN, is reset to the default by exec; this process still
            # ignores the signal, as its parent wants.
            signal.signal(number, _ignore)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(_UMASK)
    for name in list(os.environ):
        if name.startswith(_VARIABLES):
            del os.environ[name]
    os.environ["LC_ALL"] = "C.UTF-8"


def _ignore(_number: int, _frame: FrameType | None) -> None:
    pass
