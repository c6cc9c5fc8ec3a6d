"""The pytest plugin: tests of stateful functions that run on the embedded engine, and on Flink.

Every pytest of the environment imports this module, and with it ``statefun_flask``. The first test
that uses an engine imports the modules of the engine.
"""

from __future__ import annotations

import collections.abc as cabc
import os
import typing as t

import pytest

if t.TYPE_CHECKING:
    from .engine import TestEngine
    from .engine_pool import EnginePool

_NAMES = ("embedded", "flink")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--statefun-engine`` and its setting."""
    group = parser.getgroup("statefun", "stateful functions")
    group.addoption(
        "--statefun-engine",
        choices=(*_NAMES, "both"),
        help="the engine of the fixture 'statefun_engine': 'embedded' (the default), 'flink', which"
        " starts StateFun on this machine and needs Java, or 'both', which runs each test twice",
    )
    parser.addini("statefun_engine", "the default of --statefun-engine", default="embedded")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a setting with the name of an unknown engine before any test runs."""
    _chosen(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize the tests that use an engine with the names of the chosen engines."""
    if "statefun_engine_name" not in metafunc.fixturenames:
        return
    for mark in metafunc.definition.iter_markers("parametrize"):
        if "statefun_engine_name" in str(mark.args[0]).replace(" ", "").split(","):
            return  # the test chooses its engines itself
    names = _chosen(metafunc.config)
    metafunc.parametrize("statefun_engine_name", names, indirect=True, scope="session")


def _chosen(config: pytest.Config) -> tuple[str, ...]:
    chosen = config.getoption("statefun_engine") or config.getini("statefun_engine")
    if chosen not in (*_NAMES, "both"):
        raise pytest.UsageError(
            f"The setting statefun_engine is '{chosen}'. Use 'embedded', 'flink' or 'both'."
        )
    return _NAMES if chosen == "both" else (chosen,)


@pytest.fixture(scope="session")
def statefun_engine_name(request: pytest.FixtureRequest) -> str:
    """Return the name of the engine that the test runs on."""
    # A test that requests 'statefun_engine' with getfixturevalue has no parameter.
    return str(getattr(request, "param", _chosen(request.config)[0]))


@pytest.fixture(scope="session")
def statefun_engine_pool() -> cabc.Iterator[EnginePool]:
    """Return the engines of this run, for fixtures that need an engine for longer than a test.

    Without Java, a test on Flink is skipped. It fails if the environment variable ``CI`` is set.
    """
    from .engine_pool import EnginePool

    with EnginePool(report=print, unavailable=_unavailable) as pool:
        yield pool


def _unavailable(reason: str) -> t.NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def statefun_app() -> t.Any:
    """Return the app to test. A project overrides this fixture."""
    pytest.fail(
        "The fixture 'statefun_app' is not defined. Write one in conftest.py that returns your"
        " Flask app, with scope='session', so that its job starts once.",
        pytrace=False,
    )


@pytest.fixture
def statefun_module() -> str | os.PathLike[str] | None:
    """Return the module.yaml to run; None to generate one from what the app declares."""
    return None


@pytest.fixture
def statefun_engine(
    statefun_engine_pool: EnginePool,
    statefun_engine_name: str,
    statefun_app: t.Any,
    statefun_module: str | os.PathLike[str] | None,
) -> TestEngine:
    """Return the app on the engine that ``--statefun-engine`` chooses."""
    engine = statefun_engine_pool.get(statefun_engine_name, statefun_app, statefun_module)
    engine.begin_test()
    return engine
