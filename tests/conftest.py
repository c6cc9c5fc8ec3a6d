"""Fixtures for all tests: requests and replies, other SDKs, and a check for leaked threads."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import typing as t
import venv

import flask
import hypothesis
import pytest
import to_function

# A busy machine would miss a deadline. For more examples run
# ``pytest --hypothesis-profile=deep``.
hypothesis.settings.register_profile("fast", max_examples=30, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=2000, deadline=None)
hypothesis.settings.load_profile("fast")


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> cabc.Iterator[None]:
    """Fail a test that leaves an application context or a non-daemon thread."""
    before = set(threading.enumerate())
    yield
    left = [each for each in threading.enumerate() if each not in before and not each.daemon]
    for thread in left:
        thread.join(timeout=2)
    assert not [each for each in left if each.is_alive()], "threads left running"
    assert not flask.has_app_context(), "an application context was left pushed"


# -- requests and answers of 3.x, from tests/shared/to_function.py ---------------------------------


@pytest.fixture(scope="session")
def request_bytes() -> cabc.Callable[..., bytes]:
    """Return a function that makes a request for example/fn/bob: ``request_bytes(*messages)``."""
    return to_function.request_bytes


@pytest.fixture(scope="session")
def request_body() -> cabc.Callable[..., bytes]:
    """Return a function that makes a request: ``request_body("ns/name", *messages, states=…)``."""

    def make(typename: str, *messages: t.Any, id: str = "me", **options: t.Any) -> bytes:
        return to_function.request_bytes(*messages, target=typename, id=id, **options)

    return make


@pytest.fixture(scope="session")
def answered() -> type[to_function.Answered]:
    """Return the class that reads a reply: ``answered(body).sends`` and so on."""
    return to_function.Answered


@pytest.fixture(scope="session")
def sent_by() -> type[to_function.From]:
    """Return the class of a message with a sender: ``sent_by(Address(…), value)``."""
    return to_function.From


@pytest.fixture(scope="session")
def invoke() -> cabc.Callable[..., to_function.Answered]:
    """Return a function that calls a function with a batch: ``invoke(fn, *messages, states=…)``."""
    return to_function.invoke


# -- other SDKs, in environments of their own ------------------------------------------------------


def _environment(name: str, requirements: cabc.Sequence[str]) -> pathlib.Path:
    """Return the interpreter that has some packages, which are installed once, in the cache folder.

    Its folder appears in the cache as a whole, so two runs may create it at the same time.
    """
    user = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = user / "statefun-flask" / f"{name}-python-{version}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".oracle-") as work:
            made = pathlib.Path(work, "venv")
            venv.create(made, with_pip=True)
            pip = [made / "bin" / "python", "-m", "pip", "install", "-q", *requirements]
            subprocess.run(pip, check=True)
            try:
                made.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def interpreter() -> cabc.Callable[..., pathlib.Path]:
    """Return a function that gives a Python with other packages: ``interpreter(name, *packages)``.

    Tests are skipped if the environment cannot be created, unless ``CI`` is set.
    """

    def make(name: str, *requirements: str) -> pathlib.Path:
        try:
            return _environment(name, requirements)
        except (OSError, subprocess.CalledProcessError) as exc:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"The official SDK cannot be installed: {exc}")

    return make


@pytest.fixture(scope="session")
def start_official(
    interpreter: cabc.Callable[..., pathlib.Path],
) -> cabc.Iterator[cabc.Callable[..., cabc.Callable[[bytes], bytes]]]:
    """Return a function that starts a program with another SDK, and returns a function to call it.

    ``start_official(program, *requirements)``; the program reads and writes lines of hex.
    """
    with contextlib.ExitStack() as stack:

        def start(program: pathlib.Path, *requirements: str) -> cabc.Callable[[bytes], bytes]:
            name = "oracle-" + requirements[0].rpartition("==")[2]
            python = interpreter(name, *requirements)
            process = stack.enter_context(
                subprocess.Popen(
                    [python, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            requests, answers = process.stdin, process.stdout
            assert requests is not None
            assert answers is not None
            stack.callback(requests.close)

            def answer(body: bytes) -> bytes:
                print(body.hex(), file=requests, flush=True)
                line = answers.readline().strip()
                assert not line.startswith("error"), line
                return bytes.fromhex(line)

            return answer

        yield start
