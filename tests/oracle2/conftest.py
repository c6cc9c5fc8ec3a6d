"""apache-flink-statefun 2.2.2 as the oracle for the 2.x protocol."""

from __future__ import annotations

import collections.abc as cabc
import pathlib

import pytest

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="session")
def official(
    start_official: cabc.Callable[..., cabc.Callable[[bytes], bytes]],
) -> cabc.Callable[[bytes], bytes]:
    """Return a function that gets the reply of the official SDK, which runs the same program."""
    return start_official(HERE / "official.py", "apache-flink-statefun==2.2.2", "protobuf==3.20.3")
