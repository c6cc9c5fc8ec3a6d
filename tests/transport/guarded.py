"""An app whose endpoint is guarded by a hook."""

from __future__ import annotations

from flask import abort
from flask import Flask
from served import registry

from statefun_flask import StateFun

app = Flask(__name__)
statefun = StateFun()
for function in registry.functions("test/echo"):
    statefun.registry.add(function)
statefun.init_app(app)


@app.before_request
def check_token() -> None:
    abort(401)
