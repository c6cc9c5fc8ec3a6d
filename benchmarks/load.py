"""The load generator: wrk, pinned to the core that the servers do not use."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import tempfile

from .cases import Case

_SCRIPT = """\
local body = io.open("{body}", "rb")
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.body = body:read("*a")
body:close()
done = function(summary)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.status
  io.write(string.format("DONE %d %d %d\\n", summary.requests, summary.duration, lost))
end
"""


def missing() -> str | None:
    """Return a message about missing programs, or None."""
    if shutil.which("wrk") is None:
        return (
            "wrk is not installed. Install it ('apt install wrk', 'brew install wrk'): it makes"
            " the load."
        )
    return None


class Load:
    """Sends the requests of a case."""

    def __init__(self, case: Case, folder: pathlib.Path) -> None:
        self.case = case
        body = folder / f"{case.name}.bin"
        body.write_bytes(case.body)
        self.script = folder / f"{case.name}.lua"
        self.script.write_text(_SCRIPT.format(body=body))

    def run(self, url: str, seconds: int, core: int | None) -> tuple[int, float]:
        """Return the number of answered requests, and the time in seconds.

        :raises RuntimeError: Requests failed.
        """
        pin = [] if core is None else ["taskset", "-c", str(core)]
        connections = ["-t1", f"-c{self.case.connections}", f"-d{seconds}s", "--timeout", "30s"]
        command = [*pin, "wrk", *connections, "-s", str(self.script), url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(r"DONE (\d+) (\d+) (\d+)", output)
        if found is None:
            raise RuntimeError(f"wrk said {output!r}")
        requests, micros, lost = map(int, found.groups())
        if lost:
            raise RuntimeError(f"{lost} of {requests} requests failed at {url}")
        return requests, micros / 1e6


def loads(cases: list[Case], folder: tempfile.TemporaryDirectory[str]) -> dict[str, Load]:
    """Return the load of each case."""
    return {case.name: Load(case, pathlib.Path(folder.name)) for case in cases}
