"""Program that makes a virtual environment with pip, also without `ensurepip`.

Debian ships `ensurepip` apart from Python. If it is missing, pip's own wheel is taken from
a Debian package, which is unpacked and not installed; that needs no root.

    python -m tools.environment FOLDER
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.support.servers.apt import ProvisionError, unpack


def main() -> int:
    folder = Path(sys.argv[1])
    try:
        import ensurepip  # noqa: F401  # only its presence matters
    except ImportError:
        venv.create(folder, clear=True)
        return _add_pip(folder)
    venv.create(folder, clear=True, with_pip=True)
    return 0


def _add_pip(folder: Path) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "tree")
        tree.mkdir()
        try:
            suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
            unpack(suite, ("python3-pip-whl",), tree)
            wheel = next(tree.glob("usr/share/python-wheels/pip-*.whl"))
        except (ProvisionError, OSError, StopIteration) as error:
            print(
                "this Python has no ensurepip, and no pip could be downloaded: "
                f"run apt-get install python3-venv, then try again ({error})",
                file=sys.stderr,
            )
            return 1
        python = folder / "bin" / "python"
        return subprocess.run(
            [python, "-m", "pip", "--quiet", "install", "--upgrade", "pip"],
            env={**os.environ, "PYTHONPATH": str(wheel)},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
