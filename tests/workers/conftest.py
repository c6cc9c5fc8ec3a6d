"""Workers on other SDKs, each built once in the cache folder."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

import pytest

HERE = pathlib.Path(__file__).parent

#: The build of a worker: its tools, its commands, and the command that runs it.
BUILDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "go": (("go",), ("go", "build", "-o", "greeter", "."), ("./greeter",)),
    "js": (
        ("node", "npm"),
        ("npm", "install", "--no-audit", "--no-fund", "--silent"),
        ("node", "index.js"),
    ),
}


def built(name: str) -> pathlib.Path:
    """Return the folder of a built worker, which is built if it is missing."""
    sources = HERE / name
    digest = hashlib.sha256()
    for path in sorted(sources.iterdir()):
        digest.update(path.read_bytes())
    user = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = user / "statefun-flask" / f"worker-{name}-{digest.hexdigest()[:12]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".worker-") as work:
            made = shutil.copytree(sources, pathlib.Path(work, "made"))
            subprocess.run(BUILDS[name][1], cwd=made, check=True)
            with contextlib.suppress(OSError):  # another run was faster
                made.rename(folder)
    return folder


def command(name: str, interpreter: t.Any) -> tuple[list[str], pathlib.Path]:
    """Return the command that runs a worker, and its folder.

    A missing toolchain skips the test. A build that fails does so too, but not in CI.
    """
    if name == "python":
        python = interpreter(
            "worker-3.3.0", "apache-flink-statefun==3.3.0", "aiohttp==3.*", "setuptools<81"
        )
        return [str(python), str(HERE / "official.py")], HERE
    tools, _, run = BUILDS[name]
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"'{missing[0]}' is not installed, which builds this worker.")
    try:
        return list(run), built(name)
    except subprocess.CalledProcessError as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"The worker cannot be built: {exc}")


@pytest.fixture(scope="session", params=["python", "go", "js"])
def worker(request: pytest.FixtureRequest, interpreter: t.Any) -> cabc.Iterator[str]:
    """Return the URL of a greeter and a relay on another SDK."""
    arguments, folder = command(request.param, interpreter)
    with subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port, f"the worker ended with status {process.poll()}"
            yield f"http://127.0.0.1:{port}/statefun"
        finally:
            process.kill()
