from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from statefun_flask.flink import FlinkError
from statefun_flask.flink import jars
from statefun_flask.flink.releases import Bundle

BUNDLE = Bundle("Thing 1.0", ("org.example:thing:1.0",))

# Stands in for Maven, which would need the network: writes a jar in two halves.
MAVEN = """\
#!/bin/sh
for last; do :; done
folder=${last#-DoutputDirectory=}
mkdir -p "$folder"
printf half > "$folder/thing-1.0.jar"
sleep 0.3
echo '[INFO] Downloaded from central: https://example.org/thing-1.0.jar (25 kB at 2.5 MB/s)'
printf whole > "$folder/thing-1.0.jar"
"""
FAILING = """\
#!/bin/sh
cat <<END
[INFO] BUILD FAILURE
[ERROR] Failed to execute goal on project x: Could not resolve dependencies for project \
x:x:jar:1: Could not find artifact org.apache.kafka:kafka_2.13:jar:9.9.9 in central -> [Help 1]
[ERROR]\x20
[ERROR] To see the full stack trace of the errors, re-run Maven with the -e switch.
[ERROR] Re-run Maven using the -X switch to enable full debug logging.
[ERROR] For more information about the errors and possible solutions, please read the following:
[ERROR] [Help 1] https://example.org/DependencyResolutionException
END
exit 1
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return an empty cache, with a stand-in for Maven first on the PATH."""
    monkeypatch.setenv(jars.VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    install(tmp_path, MAVEN)
    return tmp_path / "cache"


def install(tmp_path: pathlib.Path, maven: str) -> None:
    (tmp_path / "bin" / "mvn").write_text(maven)
    (tmp_path / "bin" / "mvn").chmod(0o755)


def test_jars_are_fetched_once_and_progress_is_reported(cache: pathlib.Path) -> None:
    said: list[str] = []
    folder = jars.fetch(BUNDLE, said.append)
    assert said == [
        "Fetching Thing 1.0 with Maven. This happens once …",
        f"Thing 1.0 is now in '{cache}/{BUNDLE.folder}'.",
    ]
    assert (folder / "thing-1.0.jar").read_text() == "whole"
    assert [path.name for path in cache.iterdir()] == [BUNDLE.folder]

    (cache.parent / "bin" / "mvn").unlink()
    assert jars.fetch(BUNDLE, said.append) == folder
    assert len(said) == 2


def test_other_artifacts_are_another_folder() -> None:
    other = Bundle("Thing 1.0", (*BUNDLE.artifacts, "org.example:more:1.0"))
    assert BUNDLE.folder.startswith("thing-1.0-")
    assert other.folder.startswith("thing-1.0-")
    assert other.folder != BUNDLE.folder


def test_two_processes_at_once_both_get_whole_jars(cache: pathlib.Path) -> None:
    program = (
        "from statefun_flask.flink import jars\n"
        "from statefun_flask.flink.releases import Bundle\n"
        f"folder = jars.fetch({BUNDLE!r})\n"
        "print((folder / 'thing-1.0.jar').read_text())\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [each.communicate(timeout=30)[0] for each in running] == ["whole\n"] * 2
    assert [path.name for path in cache.iterdir()] == [BUNDLE.folder]


def test_a_killed_process_leaves_nothing_behind(cache: pathlib.Path) -> None:
    install(cache.parent, '#!/bin/sh\necho "$PPID $$" > "$STARTED"\nexec sleep 1000\n')
    started = cache.parent / "started"
    program = (
        "from statefun_flask.flink import jars\n"
        "from statefun_flask.flink.releases import Bundle\n"
        f"jars.fetch({BUNDLE!r})\n"
    )
    env = {**os.environ, "STARTED": str(started)}
    with subprocess.Popen([sys.executable, "-c", program], env=env) as process:
        wait_for(lambda: started.exists() and started.read_text().strip())
        maven = int(started.read_text().split()[1])
        process.kill()
    wait_for(lambda: not alive(maven) and not list(cache.iterdir()))


def test_a_failure_shows_the_errors_of_maven(cache: pathlib.Path) -> None:
    install(cache.parent, FAILING)
    with pytest.raises(FlinkError) as info:
        jars.fetch(BUNDLE)
    assert str(info.value) == (
        "Maven cannot fetch Thing 1.0. Its errors are:\n[ERROR] Failed to execute goal on project"
        " x: Could not resolve dependencies for project x:x:jar:1: Could not find artifact"
        " org.apache.kafka:kafka_2.13:jar:9.9.9 in central -> [Help 1]"
    )
    assert list(cache.iterdir()) == []


def test_a_failure_without_an_error_line_shows_the_end(cache: pathlib.Path) -> None:
    install(cache.parent, "#!/bin/sh\necho no java here\nexit 2\n")
    with pytest.raises(FlinkError, match=r"Its errors are:\nno java here$"):
        jars.fetch(BUNDLE)


def test_progress_counts_jars_and_bytes() -> None:
    log = (
        "[INFO] Downloaded from central: https://example.org/a-2.5.jar (25 kB at 2.5 MB/s)\n"
        "[INFO] Downloaded from central: https://example.org/a-2.4.pom (5.8 kB at 648 kB/s)\n"
        "[INFO] Downloaded from central: https://example.org/b-2.6.jar (1.5 MB at 2.3 MB/s)\n"
    )
    count, size = jars.downloaded(log)
    assert count == 2
    assert size == pytest.approx(1_525_000)


def wait_for(condition: object) -> None:
    from statefun_flask.flink.process import wait_until

    assert callable(condition)
    wait_until(condition, "the test's condition holds", timeout=20)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
