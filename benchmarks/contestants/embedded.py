"""The greeter on the embedded engine with Kafka: ``embedded.py MODULE BROKERS DATA [remote]``.

It runs the same engine as ``flask statefun dev``, without the screen. DATA is a folder, or ``-``
for memory. With ``remote`` the functions are called at module.yaml's URL. It runs until SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading

from ours_http import app

from statefun_flask.dev.run import relax_collector
from statefun_flask.dev.session import Options
from statefun_flask.dev.session import Session


def main(module: str, kafka: str, data: str, remote: str = "") -> None:
    """Run until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    options = Options(
        port=0,
        module=module,
        kafka=kafka,
        data=None if data == "-" else data,
        remote=bool(remote),
    )
    with app.app_context():
        session = Session(app, options)
    relax_collector()
    session.start()
    ended.wait()
    session.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
