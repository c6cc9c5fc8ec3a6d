"""A Flask app with the extension."""

from __future__ import annotations

import collections.abc as cabc
import os

from flask import Flask
from werkzeug.routing import Map

from .config import SettingsOptions
from .extension import AppStateFun


class LateUrlMap(Map):
    """A URL map that adds its last rules just before its first use.

    :attr:`complete` is called once, before the first match, the first built URL or the first list
    of the rules. If it raises an exception, it is called again the next time.
    """

    complete: cabc.Callable[[], object] | None = None

    def update(self) -> None:
        """Add the missing rules, then sort all of them as werkzeug does."""
        complete = self.complete
        if complete is not None:
            complete()
            self.complete = None
        super().update()


class StateFunFlask(Flask):
    """Flask with ``@app.statefun(…)``, which type checkers know.

    The ``STATEFUN_…`` keys of the config are read when the URL map is first used: by the first
    request, ``flask routes`` or ``url_for``; or when the app is served or run on an engine. Until
    then they may be set and changed. An app context alone does not read them.
    :meth:`StateFun.init_app` lists the keys.

    The parameters are those of :class:`flask.Flask`, and:

    :param statefun_options: Defaults for the settings by name, such as ``{"url": "/functions"}``.
        The config overrides them.
    :raises TypeError: An option is unknown.
    :raises ValueError: The value of an option is not allowed.
    """

    url_map_class = LateUrlMap

    #: The app's functions, settings and endpoint.
    statefun: AppStateFun

    def __init__(
        self,
        import_name: str,
        static_url_path: str | None = None,
        static_folder: str | os.PathLike[str] | None = "static",
        static_host: str | None = None,
        host_matching: bool = False,
        subdomain_matching: bool = False,
        template_folder: str | os.PathLike[str] | None = "templates",
        instance_path: str | None = None,
        instance_relative_config: bool = False,
        root_path: str | None = None,
        *,
        statefun_options: SettingsOptions | None = None,
    ) -> None:
        super().__init__(
            import_name,
            static_url_path=static_url_path,
            static_folder=static_folder,
            static_host=static_host,
            host_matching=host_matching,
            subdomain_matching=subdomain_matching,
            template_folder=template_folder,
            instance_path=instance_path,
            instance_relative_config=instance_relative_config,
            root_path=root_path,
        )
        self.statefun = AppStateFun(self, options=statefun_options)
        if not isinstance(self.url_map, LateUrlMap):
            raise TypeError(
                f"The url_map_class of {type(self).__name__} is {type(self.url_map).__name__},"
                " which does not add the endpoint's URL rules. Derive it from"
                " statefun_flask.app.LateUrlMap."
            )
        # Reading the endpoint adds the URL rules.
        self.url_map.complete = lambda: self.statefun.endpoint
