"""apache-flink-statefun 3.3.0, in an environment of its own, as the oracle for the 3.x protocol.

The environment is made once, in ``STATEFUN_ORACLE_CACHE`` or the user's cache folder. Where it
cannot be made the tests are skipped, unless the environment says ``CI``: then they fail.
"""

from __future__ import annotations

import collections.abc as cabc
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import venv

import pytest

HERE = pathlib.Path(__file__).parent
# The SDK's generated code needs protobuf before 4.
REQUIREMENTS = ["apache-flink-statefun==3.3.0", "protobuf==3.20.3"]


def cache() -> pathlib.Path:
    """Return the folder that keeps environments between runs."""
    given = os.environ.get("STATEFUN_ORACLE_CACHE")
    if given:
        return pathlib.Path(given)
    user = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return user / "statefun-flask"


def interpreter() -> pathlib.Path:
    """Return the interpreter that has the oracle's packages.

    Its folder appears in the cache as a whole, so that two runs at once do no harm.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache() / f"oracle-3.3.0-python-{version}"
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
def official() -> cabc.Iterator[cabc.Callable[[bytes], bytes | str]]:
    """Return a function that has the official SDK answer a request by the same program.

    It gives the answer's bytes, or the text of the error.
    """
    try:
        python = interpreter()
    except (OSError, subprocess.CalledProcessError) as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"The official SDK cannot be installed: {exc}")

    command = [python, HERE / "official.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        into, out = process.stdin, process.stdout
        assert into is not None
        assert out is not None

        def answer(body: bytes) -> bytes | str:
            into.write(struct.pack(">I", len(body)) + body)
            into.flush()
            is_answer, size = struct.unpack(">?I", out.read(5))
            data: bytes = out.read(size)
            return data if is_answer else data.decode()

        yield answer
        into.close()
        assert process.wait(10) == 0
