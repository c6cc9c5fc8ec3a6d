"""The same functions in a Flask app, for ``flask --app blog_app statefun …``."""

from __future__ import annotations

from blog import forget
from blog import greet
from blog import GREETER
from blog import GREETS
from blog import RELAY
from blog import relay

from statefun_flask import StateFunFlask

app = StateFunFlask(__name__)
app.config["STATEFUN_PROTOCOL"] = "v2"

app.statefun(GREETER, states=["seen_count"], egresses=[GREETS])(greet)
app.statefun(GREETER, states=["seen_count"])(forget)
app.statefun(RELAY, egresses=[GREETS])(relay)
