"""The pytest plugin in a user's project, which runs in its own pytest."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

APP = """
import pytest
from statefun_flask import Effects, kafka_record, StateFunFlask

app = StateFunFlask(__name__)

@app.statefun("example/echo", egresses=["example/out"])
def echo(context, text: str) -> Effects:
    return Effects().egress("example/out", kafka_record("out", key=text, value=text))

@pytest.fixture(scope="session")
def statefun_app():
    return app

def test_echo(statefun_engine):
    statefun_engine.send("example/echo/one", "hello")
    assert [record.text for record in statefun_engine.records("out")] == ["hello"]
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return an empty project."""
    monkeypatch.delenv("CI", raising=False)
    return pytester


def test_loading_the_plugin_imports_nothing_that_only_an_engine_needs() -> None:
    names = ["confluent_kafka", "granian", "sqlite3", "waitress", "yaml"]
    names += [f"statefun_flask.{each}" for each in ("embedded", "flink", "module_yaml")]
    code = (
        "import json, sys, pytest; import statefun_flask.testing.plugin;"
        f"print(json.dumps([name for name in {names} if name in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []


def test_a_project_needs_an_app_and_no_configuration(project: pytest.Pytester) -> None:
    project.makepyfile(APP)
    result = project.runpytest("-v", "-p", "no:randomly")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_echo[[]embedded[]] PASSED*"])


def test_without_maven_flink_is_skipped_with_the_reason(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    project.makepyfile(APP)
    result = project.runpytest("-rs", "--statefun-engine", "both")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*Maven is not installed, or*"])


def test_without_maven_flink_fails_in_ci(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("CI", "true")
    project.makepyfile(APP)
    project.makeini("[pytest]\nstatefun_engine = flink")
    result = project.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Maven is not installed, or*"])


def test_a_setting_with_an_unknown_engine_is_refused(project: pytest.Pytester) -> None:
    project.makepyfile(APP)
    project.makeini("[pytest]\nstatefun_engine = spark")
    result = project.runpytest()
    result.stderr.fnmatch_lines(
        ["*The setting statefun_engine is 'spark'. Use 'embedded', 'flink' or 'both'.*"]
    )
    assert result.ret != 0


def test_a_project_without_an_app_fails_with_the_fixture_to_write(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(statefun_engine): pass")
    result = project.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*The fixture 'statefun_app' is not defined. Write one in conftest.py that returns*"]
    )


def test_a_test_can_choose_its_engine(project: pytest.Pytester) -> None:
    mark = '@pytest.mark.parametrize("statefun_engine_name", ["embedded"], indirect=True)'
    project.makepyfile(APP.replace("def test_echo", f"{mark}\ndef test_echo"))
    result = project.runpytest("--statefun-engine", "flink")
    result.assert_outcomes(passed=1)


def test_a_fixture_named_engine_stays_the_projects_own(project: pytest.Pytester) -> None:
    """The plugin does not use a common name."""
    project.makepyfile("""
        import pytest

        @pytest.fixture
        def engine():
            return "SQLAlchemy's"

        def test_it(engine):
            assert engine == "SQLAlchemy's"
        """)
    project.makeconftest("def pytest_addoption(parser): parser.addoption('--engine')")
    project.runpytest("--engine", "postgresql").assert_outcomes(passed=1)
