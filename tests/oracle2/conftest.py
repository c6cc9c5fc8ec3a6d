"""apache-flink-statefun 2.2.2, in an environment of its own, as the oracle for the 2.x protocol.

The environment is made once, in the user's cache folder. Where it cannot be made the tests are
skipped, unless the environment says ``CI``: then they fail.
"""

from __future__ import annotations

import collections.abc as cabc
import os
import pathlib
import subprocess
import sys
import tempfile
import venv

import pytest

HERE = pathlib.Path(__file__).parent
REQUIREMENTS = ["apache-flink-statefun==2.2.2", "protobuf==3.20.3"]


def interpreter() -> pathlib.Path:
    """Return the interpreter that has the oracle's packages.

    Its folder appears in the cache as a whole, so that two runs at once do no harm.
    """
    user = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = user / "statefun-flask" / f"oracle-2.2.2-python-{version}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".oracle-") as work:
            made = pathlib.Path(work, "venv")
            venv.create(made, with_pip=True)
            pip = [made / "bin" / "python", "-m", "pip", "install", "-q", *REQUIREMENTS]
            subprocess.run(pip, check=True)
            try:
                made.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def official() -> cabc.Iterator[cabc.Callable[[bytes], bytes]]:
    """Return a function that has the official SDK answer a request, by the same program."""
    try:
        python = interpreter()
    except (OSError, subprocess.CalledProcessError) as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"The official SDK cannot be installed: {exc}")

    command = [python, HERE / "official.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def answer(body: bytes) -> bytes:
            print(body.hex(), file=process.stdin, flush=True)
            line = process.stdout.readline().strip()  # type: ignore[union-attr]
            assert not line.startswith("error"), line
            return bytes.fromhex(line)

        yield answer
        process.stdin.close()
        assert process.wait(10) == 0
