"""Test the source distribution: ``python -m tools.sdist FOLDER [arguments of pytest]``.

Builds the distribution in a folder, unpacks it there, and runs its tests against the installed
package. Build it from a clean checkout, because it includes every file of ``tests``.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys


def main(folder: str, *arguments: str) -> int:
    """Return pytest's exit status."""
    shutil.rmtree(folder, ignore_errors=True)
    build = [sys.executable, "-m", "build", "--sdist", "--outdir", folder]
    subprocess.run(build, stdout=subprocess.DEVNULL, check=True)
    (archive,) = pathlib.Path(folder).glob("*.tar.gz")
    shutil.unpack_archive(archive, folder)
    (unpacked,) = (each for each in pathlib.Path(folder).iterdir() if each.is_dir())
    return subprocess.run(["pytest", *arguments], cwd=unpacked).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
