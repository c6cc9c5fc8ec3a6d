"""Finding Java and Maven."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess

from .errors import EngineError

#: Kafka's broker needs it, and the engines' JVM options are written for it.
MINIMUM = 17


def java() -> str:
    """Return the path of a Java that is recent enough: ``$JAVA_HOME``'s, else the path's.

    :raises EngineError: There is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(pathlib.Path(home, "bin"))) if home else None
    found = found or shutil.which("java")
    if found is None:
        raise EngineError(
            f"Java is not installed, or not on the PATH. The engine needs a Java of version"
            f" {MINIMUM} or later; set JAVA_HOME or PATH to it."
        )
    text = version(found)
    if _major(text) < MINIMUM:
        raise EngineError(
            f"The Java at '{found}' is version {text}. The engine needs version {MINIMUM} or"
            " later; set JAVA_HOME or PATH to one."
        )
    return found


def maven() -> str:
    """Return the path of Maven.

    :raises EngineError: There is none.
    """
    found = shutil.which("mvn")
    if found is None:
        raise EngineError(
            "Maven is not installed, or 'mvn' is not on the PATH. It is needed once, to fetch"
            " the engine; install it, or set PATH to it."
        )
    return found


def version(java: str) -> str:
    """Return what a Java says its version is: ``17.0.15``, ``1.8.0_402``."""
    result = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    said = re.search(r'version "([^"]+)"', result.stderr + result.stdout)
    if said is None:
        raise EngineError(
            f"The Java at '{java}' does not work: it answers '-version' with"
            f" '{(result.stderr or result.stdout).strip()}'. Set JAVA_HOME or PATH to another one."
        )
    return said.group(1)


def _major(version: str) -> int:
    """Return 17 for ``17.0.15``, and 8 for ``1.8.0_402``."""
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]
