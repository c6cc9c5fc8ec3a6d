"""Images without Docker: stand-ins for the base images, and buildah to build and run the rest.

buildah needs no daemon. The stand-ins prove that the Dockerfiles build, and that the images run
with the same Debian and the same minor version of Python. They do not prove what the real base
images contain."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import typing as t

import pytest
import waiting

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = "docker.io/library/python:3.11-slim-bookworm"
RUNTIME = "docker.io/apache/flink-statefun:3.3.0"
TOOLS = ("buildah", "mmdebstrap")


def missing(text: str) -> t.NoReturn:
    """Skip a test that a user's machine cannot run, and fail it on CI."""
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture(scope="session", name="missing")
def _missing() -> cabc.Callable[[str], t.NoReturn]:
    """Return a function that skips the test, or fails it on CI, with the reason."""
    return missing


@pytest.fixture(scope="session")
def require() -> cabc.Callable[..., None]:
    """Return a function that skips the test, or fails it on CI, when programs are not installed."""

    def check(*programs: str) -> None:
        lacking = [name for name in programs if shutil.which(name) is None]
        if lacking:
            missing(f"{' and '.join(lacking)} is not installed. Install it with apt.")

    return check


class Container:
    """A container that runs the command of an image."""

    def __init__(self, run: list[str], configured: dict[str, t.Any], log: pathlib.Path) -> None:
        self._run = run
        self._configured = configured
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*run, *configured["Cmd"]], stdout=output, stderr=subprocess.STDOUT
            )
        self._log = log

    @property
    def log(self) -> str:
        """The output so far."""
        return self._log.read_text()

    def is_healthy(self) -> bool:
        """Execute the image's health check in the container."""
        kind, *command = self._configured["Healthcheck"]["Test"]
        assert kind == "CMD"
        done = subprocess.run([*self._run, *command], capture_output=True, text=True, timeout=30)
        return done.returncode == 0

    @property
    def pid(self) -> int:
        """The process of the image's command, which has the id 1 under Docker."""
        pid = self.process.pid
        # buildah has processes between itself and the command.
        while children := _children(pid):
            (pid,) = children
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        assert "buildah" not in words[0]
        return pid

    @property
    def user(self) -> tuple[int, int]:
        """The ids of the user and the group of the process."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        ids = {line.split()[0]: int(line.split()[1]) for line in status if "id:" in line[:5]}
        return ids["Uid:"], ids["Gid:"]


def _children(pid: int) -> list[int]:
    files = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


class Buildah:
    """buildah with a storage of its own.

    :param folder: The folder of images and containers.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._where = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]

    def __call__(self, *arguments: str | pathlib.Path) -> str:
        command = self._command(*arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def _command(self, *arguments: str | pathlib.Path) -> list[str]:
        return ["buildah", *self._where, "--storage-driver", "vfs", *map(str, arguments)]

    def base(self, name: str, content: pathlib.Path | None) -> None:
        """Make an image with the name of a FROM line; it is empty without content."""
        container = self("from", "scratch")
        if content is not None:
            self("add", "--quiet", container, content, "/")
        self("commit", "--quiet", "--format", "docker", "--rm", container, name)

    def build(self, dockerfile: str, image: str) -> dict[str, t.Any]:
        """Build a Dockerfile unchanged, and return the configuration of the image."""
        # The OCI format has no health check.
        options = ("--quiet", "--pull-never", "--format", "docker")
        where = ("--isolation", "chroot", "--network", "host")
        self("bud", *options, *where, "--tag", image, "--file", ROOT / dockerfile, ROOT)
        return self.configured(image)

    def configured(self, image: str) -> dict[str, t.Any]:
        """Return an image's command, user, environment and health check."""
        found = json.loads(self("inspect", "--type", "image", image))
        return t.cast("dict[str, t.Any]", found["Docker"]["config"])

    @contextlib.contextmanager
    def mounted(self, image: str) -> cabc.Iterator[pathlib.Path]:
        """Yield the folder of an image's files."""
        container = self("from", "--pull-never", image)
        try:
            yield pathlib.Path(self("mount", container))
        finally:
            self("rm", container)

    @contextlib.contextmanager
    def running(self, image: str, **environment: str) -> cabc.Iterator[Container]:
        """Run an image's command with additional environment variables until the context ends."""
        container = self("from", "--pull-never", image)
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        where = ("--isolation", "chroot", "--network", "host")
        run = self._command("run", *where, *variables, container, "--")
        running = Container(run, self.configured(image), self.folder / f"{container}.log")
        try:
            yield running
        finally:
            if running.process.poll() is None:
                os.kill(running.pid, signal.SIGKILL)
            running.process.wait(30)
            self("rm", container)


@pytest.fixture(scope="session")
def buildah(require: cabc.Callable[..., None]) -> cabc.Iterator[Buildah]:
    """Return buildah with stand-ins for all images that the Dockerfiles begin with."""
    require(*TOOLS)
    if os.geteuid() != 0:
        missing("buildah and mmdebstrap are run as root here. Run the tests as root.")
    with tempfile.TemporaryDirectory(prefix="images-", dir=_roomy()) as folder:
        buildah = Buildah(pathlib.Path(folder))
        content = buildah.folder / "python.tar"
        _bootstrap(content)
        buildah.base(PYTHON, content)
        content.unlink()
        buildah.base(RUNTIME, None)
        yield buildah


def _roomy() -> str | None:
    """Return a folder in memory if that is large enough, since each container copies its base."""
    memory = "/dev/shm"
    with contextlib.suppress(OSError):
        if shutil.disk_usage(memory).free > 4 * 2**30:
            return memory
    return None


def _bootstrap(content: pathlib.Path) -> None:
    """Write the files of a Debian that looks like the official image of Python."""
    pip = content.with_name("pip.conf")
    pip.write_text(_pip_settings())
    # The packages of this machine, which may differ from Debian's.
    authorities = ssl.get_default_verify_paths().cafile
    hooks = (
        'rm "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED',
        # Every container is a copy of the whole folder.
        'cd "$1/usr/share" && rm -r doc info locale man perl',
        'ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
        f'cp "{pip}" "$1/etc/pip.conf"',
        f'cp -L "{authorities}" "$1/etc/ssl/certs/ca-certificates.crt"',
    )
    packages = "python3,python3-pip,python3-venv,ca-certificates"
    suite = PYTHON.rpartition("-")[2]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    done = subprocess.run(
        [*command, suite, content],
        env=os.environ | {"TMPDIR": str(content.parent)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


def _pip_settings() -> str:
    """Return pip's configuration of this machine as a file."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings = {"cert": "/etc/ssl/certs/ca-certificates.crt"}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout"):
            settings[key] = value.strip("'\"")
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


wait_for = functools.partial(waiting.wait_for, seconds=30)


@pytest.fixture(scope="session", name="wait_for")
def _wait_for() -> cabc.Callable[..., None]:
    """Return a function that waits until a condition holds: ``wait_for(condition, what)``."""
    return wait_for
