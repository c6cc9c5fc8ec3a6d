"""A Flask app that has the extension from the start."""

from __future__ import annotations

import typing as t

from flask import Flask
from flask import Request
from werkzeug.routing import MapAdapter

from .extension import StateFun


class StateFunFlask(Flask):
    """Flask with ``@app.statefun(...)``, known to type checkers.

    Its ``STATEFUN_…`` settings count up to the first request or command, since nobody can set them
    before the app is made.
    """

    statefun: StateFun

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        StateFun()._attach(self)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Add the endpoint before the first use of the URL map, when the config is complete."""
        self.statefun._bind(self)
        return super().create_url_adapter(request)
