"""What probes and load balancers are told, at paths below the endpoint's URL.

``…/health/live`` says that the process answers; one that does not should be started anew.
``…/health/ready`` says whether it takes requests, and is 503 from SIGTERM on. ``…/health`` is the
same as ``…/health/ready``, for those who ask one path only.
"""

from __future__ import annotations

from .endpoint import Endpoint
from .endpoint import Reply


class Health:
    """The answers of an endpoint's health paths.

    :param endpoint: Is ready as long as it is not draining.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        base = f"{endpoint.settings.url.rstrip('/')}/health"
        self.live = f"{base}/live"
        #: Every path that is answered.
        self.paths = frozenset({base, self.live, f"{base}/ready"})
        self._endpoint = endpoint

    def __call__(self, path: str) -> Reply:
        """Answer a GET for one of the paths."""
        ready = not self._endpoint.draining
        body = b'{"live": true, "ready": %s}\n' % (b"true" if ready else b"false")
        return Reply(200 if ready or path == self.live else 503, body, "application/json")
