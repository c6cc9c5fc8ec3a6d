"""An app whose endpoint is guarded by a hook."""

from __future__ import annotations

from flask import abort
from flask import Flask
from served import registry

from statefun_flask import StateFun
from statefun_flask.core.registry import add_declared
from statefun_flask.core.registry import functions_of

app = Flask(__name__)
statefun = StateFun()
for function in functions_of(registry, "test/echo"):
    add_declared(statefun.registry, function)
statefun.init_app(app)


@app.before_request
def check_token() -> None:
    abort(401)
