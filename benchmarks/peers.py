"""Creates the virtual environments of the peers once, below the user's cache folder."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import venv

#: The packages of each contestant; empty for those that need only this environment.
REQUIREMENTS = {
    "apache": ["apache-flink-statefun==3.3.0", "setuptools<81"],
    "fork": ["flink-statefun==3.5.0"],
    "apache-http": [
        "apache-flink-statefun==3.3.0",
        "setuptools<81",
        "aiohttp==3.*",
        "flask==3.1.*",
        "waitress==3.*",
    ],
    "fork-http": [
        "flink-statefun==3.5.0",
        "aiohttp==3.*",
        "flask==3.1.*",
        "waitress==3.*",
        "granian==2.*",
        "uvicorn[standard]",
    ],
}


def cache() -> pathlib.Path:
    """Return the folder of the environments."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base, "statefun_flask", "benchmarks")


def python(name: str) -> str:
    """Return the interpreter of a contestant. Its environment is created if it is missing."""
    if name not in REQUIREMENTS:
        return sys.executable

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache() / f"{name}-{version}"
    executable = folder / "bin" / "python"
    if not executable.exists():
        print(f"installing {' '.join(REQUIREMENTS[name])} …", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
            venv.create(unfinished, with_pip=True)
            pip = [f"{unfinished}/bin/python", "-m", "pip", "install", "-q"]
            subprocess.run([*pip, *REQUIREMENTS[name]], check=True)
            os.rename(unfinished, folder)
            os.mkdir(unfinished)
    return str(executable)
