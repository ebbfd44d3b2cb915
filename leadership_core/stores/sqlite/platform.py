"""Facts about the machine: boot id, boot clock, and types of mounted file systems."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ...backend import clock
from ...errors import ConfigurationError

__all__ = ["boot_id", "boottime_offset", "file_system", "machine_clock", "refuse_network"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/timens_offsets")
_MOUNTS = Path("/proc/self/mountinfo")

# File systems whose locks do not do what SQLite needs, or that machines with other clocks share.
_NETWORK = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "pvfs2",
        "smb",
        "smb3",
        "smbfs",
    }
    | {
        "fuse.beegfs",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.davfs",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.mfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
    }
)


def boot_id() -> str:
    """Return an id that differs after every boot of this machine.

    Raises:
        ConfigurationError: it cannot be read, so that the boot clock could not be interpreted.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError as error:
        if sys.platform == "darwin":
            import ctypes.util

            text, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
            libc = ctypes.CDLL(ctypes.util.find_library("c"))
            failed = libc.sysctlbyname(b"kern.bootsessionuuid", text, ctypes.byref(size), None, 0)
            if not failed and text.value:
                return text.value.decode("ascii")
        raise ConfigurationError(
            f"sqlite:// needs the id of this machine's boot, and {_BOOT_ID} cannot be read"
            f" ({error}); mount /proc, or use another store"
        ) from error


def machine_clock() -> clock.Clock:
    """Return the boot clock of the machine, outside of any time namespace.

    A container may run in a time namespace, which adds an offset to the boot clock; all processes
    that share a database must read the same time. See time_namespaces(7).
    """
    try:
        offset = boottime_offset(_TIME_NAMESPACE.read_text(encoding="ascii"))
    except OSError:
        offset = 0.0  # no time namespaces here
    return (lambda: clock.now() - offset) if offset else clock.now


def boottime_offset(timens_offsets: str) -> float:
    """Return the seconds that a time namespace adds to the boot clock."""
    for line in timens_offsets.splitlines():
        match line.split():
            case ["boottime", seconds, nanoseconds]:
                return int(seconds) + int(nanoseconds) / 1e9
    return 0.0


def refuse_network(folder: Path) -> None:
    """Raise `ConfigurationError` if the folder is on a network file system."""
    try:
        mountinfo = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return  # only Linux has it
    found = file_system(folder, mountinfo)
    if found in _NETWORK:
        raise ConfigurationError(
            f"{folder} is on {found}, a network file system, whose locks and clocks are not reliable"
            " enough for sqlite://; use a folder on a local disk, or, for an election between"
            " machines, a store with a server"
        )


def file_system(path: Path, mountinfo: str) -> str | None:
    """Return the type of the file system that holds the path.

    Args:
        path: absolute, without symbolic links.
        mountinfo: the text of ``/proc/self/mountinfo``.
    """
    best, found = -1, None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount_point = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        depth = len(mount_point.parts)
        # Of several mounts at the same path the last one is visible.
        if path.is_relative_to(mount_point) and depth >= best:
            best, found = depth, after.split(" ")[0]
    return found
