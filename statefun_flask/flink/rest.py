"""Flink's REST interface."""

from __future__ import annotations

import json
import typing as t
import urllib.error
import urllib.request

# The proxies of the environment are for other machines.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Rest:
    """Requests to a JobManager.

    :param url: Its address: ``http://127.0.0.1:8081``.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> t.Any:
        """Return the JSON at a path.

        :raises OSError: The connection fails, or the response is an error.
        """
        return self._request("GET", path)

    def post(self, path: str, body: object) -> t.Any:
        """Send JSON to a path, and return the response."""
        return self._request("POST", path, json.dumps(body).encode())

    def patch(self, path: str) -> t.Any:
        """Send a PATCH request to a path with a query."""
        return self._request("PATCH", path)

    def _request(self, method: str, path: str, body: bytes | None = None) -> t.Any:
        request = urllib.request.Request(
            self.url + path, body, {"Content-Type": "application/json"}, method=method
        )
        with _opener.open(request, timeout=10) as response:
            return json.load(response)
