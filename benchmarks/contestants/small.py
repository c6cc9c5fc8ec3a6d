"""The smallest app without and with statefun_flask: ``small.py APP SERVER PORT``."""

from __future__ import annotations

import sys

from flask import Flask


def bare() -> Flask:
    """Return an app with an empty response."""
    app = Flask("bare")
    app.post("/statefun")(lambda: b"")
    return app


def statefun() -> Flask:
    """Return an app with one function."""
    from statefun_flask import Context
    from statefun_flask import Effects
    from statefun_flask import INT
    from statefun_flask import StateFunFlask
    from statefun_flask import ValueSpec

    app = StateFunFlask("small")
    seen = ValueSpec("seen", INT)

    @app.statefun("example/person", states=[seen])
    def greet(context: Context, name: str) -> Effects:
        return Effects().update_state(seen, (context.get_state(seen) or 0) + 1)

    return app


def main(app: str, server: str, port: str) -> None:
    """Serve the app, with the same server settings as our transports."""
    if app == "statefun":
        from statefun_flask import GranianTransport
        from statefun_flask import WaitressTransport

        transport = WaitressTransport if server == "waitress" else GranianTransport
        transport(f"127.0.0.1:{port}", threads=4).run(statefun())
    elif server == "waitress":
        import waitress

        waitress.serve(bare(), listen=f"127.0.0.1:{port}", threads=4)
    else:
        import granian.constants
        import granian.server

        granian.server.Server(
            "small:bare",
            address="127.0.0.1",
            port=int(port),
            interface=granian.constants.Interfaces.WSGI,
            blocking_threads=4,
            factory=True,
        ).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
