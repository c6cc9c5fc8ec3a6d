"""The options of ``flask statefun serve``, for tests that are the same on all servers."""

from __future__ import annotations

import pytest

SERVERS = {
    "view on waitress": ("--server", "waitress"),
    "direct on waitress": ("--server", "waitress", "--direct"),
    "view on granian": ("--server", "granian"),
    "direct on granian": ("--server", "granian", "--direct"),
    "asgi": ("--server", "asgi"),
}

each_path = pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)
#: The paths on one server stop and listen in the same way.
each_server = pytest.mark.parametrize(
    "options",
    [SERVERS["view on waitress"], SERVERS["direct on granian"], SERVERS["asgi"]],
    ids=["waitress", "granian", "asgi"],
)
