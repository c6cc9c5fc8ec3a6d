"""Fixtures of the pytest plugin: the app to test and its module.yaml."""

from __future__ import annotations

import pathlib

import greeter
import pytest
from flask import Flask


@pytest.fixture(scope="session")
def statefun_app() -> Flask:
    """Return the app to test."""
    return greeter.app


@pytest.fixture(scope="session")
def statefun_module() -> pathlib.Path:
    """Return the path of the app's module.yaml."""
    return pathlib.Path(greeter.__file__).with_name("module.yaml")
