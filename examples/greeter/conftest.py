"""What ``engine`` runs in these tests; ``pytest examples/greeter --engine flink`` runs it there."""

from __future__ import annotations

import pathlib

import greeter
import pytest
from flask import Flask


@pytest.fixture(scope="session")
def statefun_app() -> Flask:
    """Return the app that the tests are about."""
    return greeter.app


@pytest.fixture(scope="session")
def statefun_module() -> pathlib.Path:
    """Return how messages come in and go out."""
    return pathlib.Path(greeter.__file__).with_name("module.yaml")
