"""A pytest plugin: tests of stateful functions that run on either engine.

It stands beside the package, which it does not import until a test needs it: every pytest in the
environment loads it.
"""

from __future__ import annotations

import collections.abc as cabc
import os
import typing as t

import pytest

if t.TYPE_CHECKING:
    from statefun_flask.testing import Engine
    from statefun_flask.testing import Engines

_NAMES = ("embedded", "flink")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--engine`` and its setting."""
    group = parser.getgroup("statefun", "stateful functions")
    group.addoption(
        "--engine",
        choices=(*_NAMES, "both"),
        help="what the fixture 'engine' runs on: the embedded engine (the default), or StateFun on"
        " Flink, which is started on this machine and needs Java; 'both' runs each test twice",
    )
    parser.addini("statefun_engine", "the default of --engine", default="embedded")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a setting that names no engine before anything runs."""
    _chosen(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have the tests that use an engine run on the chosen ones."""
    if "statefun_engine" not in metafunc.fixturenames:
        return
    for mark in metafunc.definition.iter_markers("parametrize"):
        if "statefun_engine" in str(mark.args[0]).replace(" ", "").split(","):
            return  # a test that says itself where it runs
    names = _chosen(metafunc.config)
    metafunc.parametrize("statefun_engine", names, indirect=True, scope="session")


def _chosen(config: pytest.Config) -> tuple[str, ...]:
    chosen = config.getoption("engine") or config.getini("statefun_engine")
    if chosen not in (*_NAMES, "both"):
        raise pytest.UsageError(
            f"The setting statefun_engine is '{chosen}'. Use 'embedded', 'flink' or 'both'."
        )
    return _NAMES if chosen == "both" else (chosen,)


@pytest.fixture(scope="session")
def statefun_engine(request: pytest.FixtureRequest) -> str:
    """Return the name of the engine that the test runs on."""
    # A test that asks for 'engine' by getfixturevalue has no parameter.
    return str(getattr(request, "param", _chosen(request.config)[0]))


@pytest.fixture(scope="session")
def statefun_engines() -> cabc.Iterator[Engines]:
    """Return the engines of this run, for fixtures that need one for longer than a test.

    Without Java, what asks for Flink is skipped; where the environment says ``CI``, it fails.
    """
    from statefun_flask.testing import Engines

    with Engines(report=print, unavailable=_unavailable) as engines:
        yield engines


def _unavailable(reason: str) -> t.NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def statefun_app() -> t.Any:
    """Return the app of the test: write a fixture of this name that does."""
    pytest.fail(
        "No app to run. Write a fixture 'statefun_app' in conftest.py that returns your Flask app"
        " (scope='session', so that its job starts once).",
        pytrace=False,
    )


@pytest.fixture
def statefun_module() -> str | os.PathLike[str] | None:
    """Return the module.yaml to run; None to make one of what the app declares."""
    return None


@pytest.fixture
def engine(
    statefun_engines: Engines,
    statefun_engine: str,
    statefun_app: t.Any,
    statefun_module: str | os.PathLike[str] | None,
) -> Engine:
    """Return the app on the engine that ``--engine`` names."""
    engine = statefun_engines.get(statefun_engine, statefun_app, statefun_module)
    engine.begin()
    return engine
