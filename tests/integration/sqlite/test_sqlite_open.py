"""Errors of sqlite:// when it is opened."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leadership_core.backend import clock
from leadership_core.backend.url import StoreURL
from leadership_core.errors import ConfigurationError, StoreRefused, StoreUnavailable, URLError
from leadership_core.stores.sqlite import SqliteStore, leadership_open_store, platform as host
from leadership_core.stores.sqlite.connection import Connection
from leadership_core.stores.sqlite.location import Location
from leadership_core.stores.sqlite.schema import _TABLES, prepare

ROOT = Path(__file__).parents[3]


def open_sqlite(url: str) -> SqliteStore:
    store = leadership_open_store(StoreURL.parse(url))
    assert store is not None
    return store


def test_absolute_path_has_four_slashes(tmp_path: Path) -> None:
    """The file is created at its first use, not when the store is opened."""
    store = open_sqlite(f"sqlite:///{tmp_path}/a.db")
    assert list(tmp_path.iterdir()) == []

    assert store.get("a") is None
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_relative_path_is_resolved_when_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that changes its folder later keeps its database."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = open_sqlite("sqlite:///a.db")
    monkeypatch.chdir(tmp_path / "elsewhere")

    store.put("a", b"")
    store.close()
    assert (tmp_path / "a.db").exists()


def test_path_may_contain_a_percent_sign_and_a_question_mark(tmp_path: Path) -> None:
    """The path is percent-decoded, and has no further meaning for SQLite."""
    store = open_sqlite(f"sqlite:///{tmp_path}/a%3Fmode=ro%20%25.db")
    store.put("a", b"")
    store.close()

    assert (tmp_path / "a?mode=ro %.db").exists()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite://host/a.db", "no host"),
        ("sqlite://user@/a.db", "no host"),
        ("sqlite://:secret@/a.db", "no host"),
        ("sqlite://", "needs a file"),
        ("sqlite:///", "needs a file"),
        ("sqlite+tls:///a.db", "no TLS"),
        ("sqlite:///a.db?timeout=3", "no option 'timeout'"),
    ],
)
def test_url_with_more_than_a_path_is_refused(url: str, why: str) -> None:
    """A part that would be ignored is an error."""
    with pytest.raises(URLError, match=why):
        open_sqlite(url)


def test_plugin_ignores_other_schemes() -> None:
    """The plugin opens its own scheme only."""
    assert leadership_open_store(StoreURL.parse("consul://name")) is None


def test_folder_is_refused_as_a_database(tmp_path: Path) -> None:
    """The message says what to write instead."""
    with pytest.raises(ConfigurationError, match=r"is a folder.*leadership\.db"):
        open_sqlite(f"sqlite:///{tmp_path}")


def test_missing_folder_is_not_created(tmp_path: Path) -> None:
    """It may be a file system that is not mounted yet."""
    with pytest.raises(ConfigurationError, match="create it first"):
        open_sqlite(f"sqlite:///{tmp_path}/not/there.db")


_AS_NOBODY = """
import os, sys
from leadership_core.errors import ConfigurationError
from leadership_core.stores.sqlite import leadership_open_store
from leadership_core.stores.sqlite.connection import Connection
from leadership_core.stores.sqlite.location import Location
from leadership_core.stores.sqlite.schema import _TABLES, prepare
from leadership_core.backend.url import StoreURL
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    leadership_open_store(StoreURL.parse(sys.argv[1]))
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "why"),
    [
        (0o555, 0o666, "must be readable and writable"),
        (0o333, 0o666, "must be readable and writable"),
        (0o777, 0o444, "may read and write"),
        (0o777, 0o222, "may read and write"),
    ],
)
def test_unwritable_database_is_refused(folder_mode: int, file_mode: int, why: str) -> None:
    """SQLite needs to write to the folder, too; the test runs without root's permissions."""
    folder = Path(tempfile.mkdtemp(prefix="leadership-"))  # pytest's own is closed to others
    file = folder / "a.db"
    try:
        file.touch()
        file.chmod(file_mode)
        folder.chmod(folder_mode)
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, f"sqlite:///{file}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)

    assert why in done.stdout


def test_file_that_is_no_database_is_left_unchanged(tmp_path: Path) -> None:
    """A text file is refused when the store is opened."""
    file = tmp_path / "notes.txt"
    file.write_text("buy milk\n" * 200)

    with pytest.raises(ConfigurationError, match=r"notes\.txt cannot be used as a database"):
        open_sqlite(f"sqlite:///{file}")
    assert file.read_text() == "buy milk\n" * 200


def test_database_of_another_program_is_left_unchanged(tmp_path: Path) -> None:
    """Its content, its journal mode and its folder are the same afterwards."""
    file = tmp_path / "app.db"
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE customers (name TEXT)")
    db.commit()
    db.close()
    before = file.read_bytes()

    with pytest.raises(ConfigurationError, match="another program's database"):
        open_sqlite(f"sqlite:///{file}")
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_database_of_another_version_is_left_unchanged(tmp_path: Path) -> None:
    """Two formats cannot share an election."""
    file = tmp_path / "a.db"
    store = open_sqlite(f"sqlite:///{file}")
    store.put("a", b"")
    store.close()
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(ConfigurationError, match="format 99"):
        open_sqlite(f"sqlite:///{file}")


def test_empty_file_becomes_a_database(tmp_path: Path) -> None:
    """A file of `touch a.db`, or a temporary file, counts as none."""
    file = tmp_path / "a.db"
    file.touch()
    store = open_sqlite(f"sqlite:///{file}")

    entry = store.put("a", b"")
    assert store.get("a") == entry
    store.close()


def test_database_created_by_another_process_meanwhile_is_used(tmp_path: Path) -> None:
    """A process that finds it empty, and waits for the lock, checks again before creating tables."""
    file = tmp_path / "a.db"
    first, second = Connection(file), Connection(file)
    first.rows("PRAGMA journal_mode = WAL")
    first.change("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(prepare, second, str(file), clock.now() + 3)
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        for statement in _TABLES:
            first.change(statement)
        first.change("COMMIT")
        waiting.result(3)

    assert second.value("SELECT revision FROM counter") == 0
    first.close()
    second.close()


def test_database_replaced_by_another_programs_is_refused(tmp_path: Path) -> None:
    """The error that the constructor would raise is a StoreRefused from then on."""
    file = tmp_path / "a.db"
    store = open_sqlite(f"sqlite:///{file}")
    file.write_text("buy milk\n" * 200)

    with pytest.raises(StoreRefused):
        store.get("a")
    file.unlink()
    assert store.get("a") is None
    store.close()


# -- the machine ------------------------------------------------------------------------------

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
