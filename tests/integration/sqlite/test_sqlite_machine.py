"""Opening of a database: file systems, clocks, file modes, and the lock file."""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leadership_core.backend import clock
from leadership_core.errors import ConfigurationError, StoreRefused, StoreUnavailable
from leadership_core.stores.sqlite import platform as host
from leadership_core.stores.sqlite.location import Location
from tests.integration.sqlite.conftest import open_sqlite

_MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/share rw,relatime shared:5 master:2 - nfs4 server:/export rw,vers=4.2
31 22 0:41 / /mnt/with\\040space rw - cifs //server/share rw
32 22 0:42 / /home/me/remote rw,nosuid - fuse.sshfs me@host:/ rw,user_id=1000
33 30 8:2 / /mnt/share/local rw - xfs /dev/sdb1 rw
34 22 0:43 / /srv rw - nfs server:/srv rw
35 22 8:3 / /srv rw - btrfs /dev/sdc1 rw
36 22 0:44 / /vm rw - virtiofs vm rw
37 22 0:45 / /tmp rw - tmpfs tmpfs rw
38 22 0:46 / /wsl rw - 9p drvfs rw
39 22 0:47 / /merged rw - overlay overlay rw,lowerdir=/a,upperdir=/b
40 22 0:48 / /cluster rw - ceph 10.0.0.1:/ rw
"""


@pytest.mark.parametrize(
    ("folder", "type_", "shared"),
    [
        ("/", "ext4", False),
        ("/mnt", "ext4", False),
        ("/mnt/sharex", "ext4", False),
        ("/mnt/share", "nfs4", True),
        ("/mnt/share/deep/er", "nfs4", True),
        ("/mnt/share/local/x", "xfs", False),
        ("/mnt/with space/x", "cifs", True),
        ("/home/me/remote", "fuse.sshfs", True),
        ("/srv/x", "btrfs", False),
        ("/vm", "virtiofs", False),
        ("/tmp/x", "tmpfs", False),
        ("/wsl", "9p", False),
        ("/merged", "overlay", False),
        ("/cluster/a", "ceph", True),
    ],
)
def test_file_system_is_that_of_the_longest_mount_point(
    folder: str, type_: str, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several mounts at one path the last one is visible; escapes are decoded."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(_MOUNTS)
    monkeypatch.setattr(host, "_MOUNTS", mounts)

    assert host.file_system(Path(folder), _MOUNTS) == type_
    if shared:
        with pytest.raises(ConfigurationError, match=f"{type_}, a network file system"):
            host.refuse_network(Path(folder))
    else:
        host.refuse_network(Path(folder))


def _octal(path: Path) -> str:
    """Escape a path as the kernel does: a space in TMPDIR would end the field."""
    return str(path.resolve()).replace(" ", r"\040")


def test_network_file_system_is_refused_when_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target of a symbolic link counts."""
    mounts, share = tmp_path / "mountinfo", tmp_path / "share"
    share.mkdir()
    mounts.write_text(f"22 1 8:1 / / rw - ext4 x rw\n30 22 0:4 / {_octal(share)} rw - nfs s:/ rw\n")
    monkeypatch.setattr(host, "_MOUNTS", mounts)
    (tmp_path / "link.db").symlink_to(share / "a.db")

    with pytest.raises(ConfigurationError, match="nfs"):
        open_sqlite(f"sqlite:///{tmp_path}/link.db")
    open_sqlite(f"sqlite:///{tmp_path}/a.db").close()


def test_machine_without_a_boot_id_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a reboot would leave sessions that end at a time of another boot."""
    assert host.boot_id() == host.boot_id() != ""
    monkeypatch.setattr(host, "_BOOT_ID", tmp_path / "nothing")

    with pytest.raises(ConfigurationError, match="boot"):
        open_sqlite(f"sqlite:///{tmp_path}/a.db")


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("monotonic           0         0\nboottime            0         0\n", 0.0),
        ("monotonic          -5         0\nboottime         3600 500000000\n", 3600.5),
        ("monotonic           0         0\nboottime           -2 500000000\n", -1.5),
        ("", 0.0),
    ],
)
def test_machine_clock_subtracts_the_offset_of_a_time_namespace(
    text: str, offset: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container with its own boot clock uses that of the machine."""
    offsets = tmp_path / "timens_offsets"
    offsets.write_text(text)
    monkeypatch.setattr(host, "_TIME_NAMESPACE", offsets)

    assert host.boottime_offset(text) == offset
    plain, ours = clock.now(), host.machine_clock()()
    assert ours + offset == pytest.approx(plain, abs=1.0)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_files_have_mode_600_for_any_umask(tmp_path: Path, umask: int) -> None:
    """A user who may read a database could block all writers with a shared lock."""
    before = os.umask(umask)
    try:
        store = open_sqlite(f"sqlite:///{tmp_path}/a.db")
        store.put("a", b"")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)

    assert modes == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}


def test_file_mode_of_an_existing_database_is_kept(tmp_path: Path) -> None:
    """The lock file gets a mode that lets the same users lock it."""
    path = tmp_path / "a.db"
    path.touch()
    path.chmod(0o664)
    location = Location(str(path))

    with location.locked(clock.now() + 1):
        lock = tmp_path / "a.db-lock"
        assert lock.stat().st_mode & 0o777 == 0o660
        location.create()

    assert path.stat().st_mode & 0o777 == 0o664
    assert not lock.exists()


def test_reader_of_the_folder_blocks_no_process(tmp_path: Path) -> None:
    """A lock on the folder needs only read permission; the store locks another file."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        store = open_sqlite(f"sqlite:///{tmp_path}/a.db")
        assert store.put("a", b"1").value == b"1"
        store.close()
    finally:
        os.close(folder)


def test_lock_file_has_one_holder_at_a_time(tmp_path: Path) -> None:
    """Its holder deletes it, and a waiting process retries with the next file."""
    location = Location(str(tmp_path / "a.db"))
    inside: list[int] = []

    def enter(number: int) -> None:
        for _ in range(50):
            with Location(str(tmp_path / "a.db")).locked(clock.now() + 30):
                inside.append(number)
                assert inside == [number]
                inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(4)))
    assert list(tmp_path.iterdir()) == []

    with (
        location.locked(clock.now() + 1),
        pytest.raises(StoreUnavailable, match=r"a\.db-lock"),
        Location(str(tmp_path / "a.db")).locked(clock.now() + 0.05),
    ):
        pytest.fail("two hold it")


def test_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """The lock file may be in a folder where other users write."""
    (tmp_path / "a.db-lock").symlink_to(tmp_path / "victim")
    with (
        pytest.raises(StoreRefused, match=r"a\.db-lock"),
        Location(str(tmp_path / "a.db")).locked(clock.now() + 0.02),
    ):
        pytest.fail("it was followed")
    assert not (tmp_path / "victim").exists()
