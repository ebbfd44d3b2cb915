"""Program that `leadership run` runs in tests: it logs that it is alive, with the boot clock.

    logging_child.py LOG WORD...

Every process of it appends lines `TOKEN PID BOOT_NANOSECONDS` to the file LOG, 200 a second. The words say
what it does besides:

    ignore      it ignores SIGTERM, SIGINT and SIGHUP; grandchildren, too
    polite      it ends with code 0 at SIGTERM, after half a second of logging
    fork        it has a child
    daemon      it has a grandchild in a session of its own, whose parent has ended
    print       it prints to stdout without end
    exit=N      it ends with code N after 0.2 s
    signal=N    it sends itself this signal after 0.2 s
"""

from __future__ import annotations

import os
import signal
import sys
import time

_INTERVAL = 0.005
_SHORT = 0.2


def _log_forever(log: int, token: str, logs: int) -> None:
    _line(log, token)
    os.close(logs)
    while True:
        time.sleep(_INTERVAL)
        _line(log, token)


def _line(log: int, token: str) -> None:
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    os.write(log, f"{token} {os.getpid()} {now}\n".encode())


def main(path: str, *words: str) -> None:
    """Do what the words say."""
    token = os.environ["LEADERSHIP_TOKEN"]
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _line(log, token)
    if "ignore" in words:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    all_log, logs = os.pipe()
    if "fork" in words and os.fork() == 0:
        _log_forever(log, token, logs)
    if "daemon" in words and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _log_forever(log, token, logs)
        os._exit(0)
    os.close(logs)
    os.read(all_log, 1)  # its end: each of them has logged a line, or is dead
    is_told = []
    if "polite" in words:
        signal.signal(signal.SIGTERM, lambda *_: is_told.append(time.monotonic()))
    begun = time.monotonic()
    while True:
        _line(log, token)
        time.sleep(_INTERVAL)
        if "print" in words:
            os.write(1, b"x" * 4096)
        if is_told and time.monotonic() > is_told[0] + 0.5:
            os._exit(0)
        if time.monotonic() > begun + _SHORT:
            for word in words:
                name, _, argument = word.partition("=")
                if name == "exit":
                    os._exit(int(argument))
                if name == "signal":
                    os.kill(os.getpid(), int(argument))


main(*sys.argv[1:])
