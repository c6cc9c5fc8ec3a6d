"""What ``engine`` runs in these tests; ``pytest examples/greeter --engine flink`` runs it there."""

from __future__ import annotations

import pathlib

import greeter
import pytest
from flask import Flask


@pytest.fixture(scope="session")
def statefun_app() -> Flask:
    return greeter.app


@pytest.fixture(scope="session")
def statefun_module() -> pathlib.Path:
    return pathlib.Path(greeter.__file__).with_name("module.yaml")
