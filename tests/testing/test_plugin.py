"""The pytest plugin as a user's project meets it: in a pytest of its own."""

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

def test_echo(engine):
    engine.send("example/echo/one", "hello")
    assert [record.text for record in engine.records("out")] == ["hello"]
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return an empty project."""
    monkeypatch.delenv("CI", raising=False)
    return pytester


def test_the_plugin_imports_nothing_until_it_is_used() -> None:
    heavy = ["statefun_flask", "flask", "yaml", "confluent_kafka", "msgspec", "google", "sqlite3"]
    code = (
        "import json, sys, pytest; before = set(sys.modules); import pytest_statefun_flask;"
        f"print(json.dumps([name for name in {heavy} if name in set(sys.modules) - before]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []


def test_a_project_needs_an_app_and_a_word(project: pytest.Pytester) -> None:
    project.makepyfile(APP)
    result = project.runpytest("-v", "-p", "no:randomly")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_echo[[]embedded[]] PASSED*"])


def test_without_java_flink_is_skipped_with_the_reason(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    project.makepyfile(APP)
    result = project.runpytest("-rs", "--engine", "both")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*Java is not installed, or not on the PATH.*"])


def test_without_java_flink_fails_in_ci(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("CI", "true")
    project.makepyfile(APP)
    project.makeini("[pytest]\nstatefun_engine = flink")
    result = project.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Java is not installed, or not on the PATH.*"])


def test_a_setting_of_no_engine(project: pytest.Pytester) -> None:
    project.makepyfile(APP)
    project.makeini("[pytest]\nstatefun_engine = spark")
    result = project.runpytest()
    result.stderr.fnmatch_lines(
        ["*The setting statefun_engine is 'spark'. Use 'embedded', 'flink' or 'both'.*"]
    )
    assert result.ret != 0


def test_a_project_without_an_app_is_told_what_to_write(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(engine): pass")
    result = project.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Write a fixture 'statefun_app' in conftest.py that returns*"])
